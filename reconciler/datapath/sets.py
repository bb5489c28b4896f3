"""Sets: a new set of maps and programs beside the one in force, filled, and switched to.

Resizing a map, changing a layout and replacing a program are this one path. Maps that are as they
should be are taken over; the others are made anew and hold what those before them held, converted
column by column. A plan's rows are written to the new maps before anything uses them. Then:

1. programs are loaded on the new maps; what the data plane learned is copied;
2. the set takes effect: one rename;
3. links are switched one by one, each in one step, so that no packet is without a program;
4. once no old program runs any more, what they learned and counted meanwhile is carried over.

A run that is killed before 2 leaves a folder that the next one removes; after it, the next one does
3 and 4 again, which is as good as once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from reconciler.abi.generated import ABI, MAPS
from reconciler.abi.shape import LEARNED
from reconciler.abi.spec import MapKind, Ownership
from reconciler.abi.table import Rows, Table
from reconciler.compile.state import Program
from reconciler.datapath import carry, elements, libbpf, tables
from reconciler.datapath import maps as kernel_maps
from reconciler.datapath.links import Links
from reconciler.datapath.maps import Layouts, Maps, OpenMap
from reconciler.datapath.objects import Objects
from reconciler.datapath.pins import Noted, Pinned, Pins


class Sets:
    """The sets of one host."""

    def __init__(
        self,
        pins: Pins,
        links: Links,
        objects: Objects,
        layouts: Layouts,
        capacities: Mapping[str, int],
    ) -> None:
        self._pins, self._links, self._objects = pins, links, objects
        self._layouts, self._capacities = layouts, capacities

    def kept(self, maps: Maps) -> Maps:
        """The maps that the next set takes over as they are: those that fit, but for caches."""
        return {
            name: maps[name]
            for name in kernel_maps.alike(maps, self._capacities)
            if MAPS[name].ownership is not Ownership.CACHE
        }

    def begin(
        self, maps: Maps, elfs: Iterable[bytes], table: Callable[[str], Table]
    ) -> tuple[Pins, Maps]:
        """A new set beside the one of `maps`, not in force yet, its owned maps filled.

        `table` gives the live rows of an owned map in today's layout.
        """
        beside, kept = self._pins.beside(), self.kept(maps)
        made = kernel_maps.create(elfs, kept, self._layouts, self._capacities)
        beside.note(Noted.SET, kernel_maps.LAYOUT, {"abi": ABI})
        for name, each in (*kept.items(), *made.items()):
            beside.put(Pinned.MAP, name, each.fd)
        for name in kept:
            carried = self._pins.get(Pinned.CARRIED, name)
            if carried is not None:
                with carried:
                    beside.put(Pinned.CARRIED, name, carried)
        for name, each in made.items():
            spec = MAPS[name]
            if spec.ownership is Ownership.OWNED:
                rows = table(name)
                tables.write_rows(each.fd, spec, rows.keys, rows.values)
            elif spec.kind is MapKind.PERCPU_ARRAY and spec.ownership in LEARNED:
                with libbpf.create_map(carry.carried_spec(spec), each.info.capacity) as carried:
                    beside.put(Pinned.CARRIED, name, carried)
        return beside, {**kept, **made}

    def complete(
        self,
        beside: Pins,
        old: Maps,
        new: Maps,
        programs: Iterable[Program],
        switch_others: Callable[[], None],
    ) -> None:
        """Load the programs of links, and let the new set take effect.

        `switch_others` is for programs that no link of ours runs.
        """
        for each in programs:
            with self._objects.load(each.name, each.constants, _fds(new)) as loaded:
                self._links.keep_program(beside, each, loaded)
        copied = {
            pair.new.name: carry.first(pair) for pair in carry.pairs(old, new) if not pair.per_cpu
        }
        beside.take_effect()
        self.finish(copied, switch_others)

    def finish(
        self,
        copied: Mapping[str, Table] | None = None,
        switch_others: Callable[[], None] = lambda: None,
    ) -> None:
        """Whatever is left to do for the set in force: nothing, unless a run was cut short."""
        before = self._pins.before()
        if before is None:
            return
        self._links.switch(before)
        switch_others()
        libbpf.quiesce()
        old = kernel_maps.open_pinned(before, self._layouts)
        new = kernel_maps.open_pinned(self._pins, self._layouts)
        try:
            for pair in carry.pairs(old, new):
                if pair.per_cpu:
                    self._carry_sums(before, pair)
                else:
                    carry.again(pair, (copied or {}).get(pair.new.name))
        finally:
            kernel_maps.close(old)
            kernel_maps.close(new)
        self._pins.carried_over()

    def behind(self, maps: Maps) -> set[str]:
        """Maps of the set in force that have yet to take over what those before them learned."""
        before = self._pins.before()
        if before is None:
            return set()
        old = kernel_maps.open_pinned(before, self._layouts)
        try:
            return {pair.new.name for pair in carry.pairs(old, maps)}
        finally:
            kernel_maps.close(old)

    def sums(self, name: str, live: OpenMap) -> Rows:
        """The rows of a per-CPU map over all CPUs, with what the maps before it counted."""
        spec, capacity = MAPS[name], kernel_maps.capacity(MAPS[name], self._capacities)
        before = self._pins.before()
        if before is not None:  # cut short: what is to be carried is still in the old map alone
            fd = before.get(Pinned.MAP, name)
            if fd is not None and libbpf.map_info(fd).id != live.info.id:
                old = self._layouts.open(name, fd, kernel_maps.release(before))
                earlier = carry.sums(old, before.get(Pinned.CARRIED, name), spec, capacity)
                return carry.added(earlier, carry.sums(live, None, spec, capacity))
        return carry.sums(live, self._pins.get(Pinned.CARRIED, name), spec, capacity)

    def zero(self, name: str, live: OpenMap, index: int) -> None:
        """Reset a row of a per-CPU map."""
        if live.spec is not None and index < live.info.capacity:
            tables.zero_sums(live.fd, live.spec, index)
            carried = self._pins.get(Pinned.CARRIED, name)
            if carried is not None:
                size = live.spec.value.dtype.itemsize
                elements.update(carried, index.to_bytes(4, "little"), bytes(size))

    def _carry_sums(self, before: Pins, pair: carry.Pair) -> None:
        name, target = pair.new.name, pair.target
        carried = self._pins.get(Pinned.CARRIED, name)
        if carried is not None:
            with carried:
                earlier = before.get(Pinned.CARRIED, name)
                total = carry.sums(pair.old, earlier, target, target.capacity)
                carry.write_carried(carried, target, total)


def _fds(maps: Maps) -> dict[str, libbpf.Fd]:
    return kernel_maps.descriptors(maps)
