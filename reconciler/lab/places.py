"""Places: where a lab keeps what it makes, all derived from its name, so that nothing is lost.

The lab called "lab" puts namespaces and pins where a real host has them, so that `ip netns` and
bpftool find them; every other lab has folders of its own and may use the same names again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from reconciler.lab.layout import LabError

DEFAULT = "lab"
RUN = Path("/run/reconciler-lab")
NETNS = Path("/run/netns")
BPFFS = Path("/sys/fs/bpf")
# With the longest name of a host, the path of its agent's socket still fits into sun_path.
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Places:
    """Files have a dot in their name, hosts' folders have none."""

    name: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise LabError(
                f"a lab cannot be called {self.name!r}; "
                "take at most 12 lower-case letters, digits and hyphens"
            )

    @property
    def mark(self) -> str:
        """What namespaces of hosts are marked with."""
        return f"reconciler-lab {self.name}"

    @property
    def run(self) -> Path:
        """The lab's own folder."""
        return RUN / self.name

    @property
    def own(self) -> bool:
        """Whether namespaces and pins are in folders that nobody else uses."""
        return self.name != DEFAULT

    @property
    def netns(self) -> Path:
        """The folder of namespaces."""
        return self.run / "netns.d" if self.own else NETNS

    @property
    def bpffs(self) -> Path:
        """What the agents take for the BPF file system; its folders cannot have dots."""
        return BPFFS / f"lab-{self.name}" if self.own else BPFFS

    @property
    def record(self) -> Path:
        """What was asked for (record.py)."""
        return self.run / "lab.json"

    @property
    def directory(self) -> Path:
        """Who is in the lab (directory.py)."""
        return self.run / "directory.json"

    @property
    def repository(self) -> Path:
        """The repository that the lab made of a plain folder."""
        return self.run / "repository.git"

    @property
    def copies(self) -> Path:
        """The folder of a remote repository's copy."""
        return self.run / "copies.d"

    @property
    def router(self) -> Path:
        """The namespace of switches and router. No endpoint's has a colon in its name."""
        return self.netns / f"{self.name}::underlay"

    def host_netns(self, host: str) -> Path:
        """The namespace of a host."""
        return self.netns / f"{self.name}:{host}"

    def host_run(self, host: str) -> Path:
        """Configuration, socket, log, pid and state of a host's agent."""
        return self.run / host

    def pins(self, host: str) -> Path:
        """The folder of a host's pins."""
        return self.bpffs / "reconciler" / host
