"""LiveTables: the owned maps of a host as tables, and as they were known last.

What is known already saves a second read, and the sorting of what did not change.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from reconciler.abi.digest import Known
from reconciler.abi.generated import MAPS
from reconciler.abi.table import Table
from reconciler.compile.state import OWNED_MAPS
from reconciler.datapath import maps as kernel_maps
from reconciler.datapath import tables
from reconciler.datapath.maps import Maps


class LiveTables:
    """Without origins; nothing here that could not be read again."""

    def __init__(self) -> None:
        self._tables: dict[str, Table] = {}  # as they are laid out
        self._hashed: dict[str, Known] = {}  # the same, once they are read again

    def read(self, name: str, maps: Maps) -> Table:
        """A table in today's layout; without rows where the kernel's cannot be understood."""
        opened = maps.get(name)
        if opened is None or opened.spec is None:
            self.forget(name)
            return Table.empty(MAPS[name])
        spec = MAPS[name] if opened.today else opened.spec
        before, known = self._tables.get(name), self._hashed.get(name)
        if before is not None and before.spec != spec:
            before = None
        if known is not None and known.table.spec != spec:
            known = None
        if before is not None and (known is None or known.table is not before):
            known = Known.of(before)
        table = tables.read_table(opened.fd, spec, opened.info.capacity, known=known)
        if known is None or table is not known.table:
            known = Known.of(table)
        self._tables[name], self._hashed[name] = table, known
        return table if opened.today else kernel_maps.converted_table(table, MAPS[name])

    @staticmethod
    def fingerprint(maps: Maps) -> bytes:
        """Of what the owned maps hold, in the order in which the kernel has it."""
        found = blake2b(digest_size=16)
        for name in OWNED_MAPS:
            if (opened := maps.get(name)) is None or opened.spec is None:
                continue
            keys, values = tables.scan(opened.fd, opened.spec, opened.info.capacity)
            found.update(f"{name} {opened.info.id} {len(keys)} ".encode())
            found.update(keys.view(np.uint8).data)
            found.update(values.view(np.uint8).data)
        return found.digest()

    def last(self, name: str, maps: Maps) -> Table:
        """As it is known: nobody else writes our tables; and if somebody does, read() finds out."""
        known = self._tables.get(name) if name in maps else None
        if known is not None and known.spec == MAPS[name]:
            return known
        return self.read(name, maps)

    def wrote(self, table: Table) -> None:
        """The map holds this now."""
        origins = np.full(len(table), -1, np.int32)
        self._tables[table.spec.name] = Table(table.spec, table.keys, table.values, origins)

    def forget(self, name: str) -> None:
        """Who knows what is there now."""
        self._tables.pop(name, None)

    def clear(self) -> None:
        """Nor in any other."""
        self._tables.clear()
