"""The answers an error of a host can give; every error of reconciler.datapath is one of them.

HostError                this host needs an operator
├── BpfError             a bpf(2) command failed                             libbpf.py
├── NoBpffsError         no file system to pin in                            pins.py
├── CapacityError        a map is too small for a plan                       apply.py
├── NoMemoryError        there is not memory enough for new maps             room.py
├── ObjectError          a compiled object is missing, or not ours           objects.py
├── NetlinkRefusedError  the kernel refused a request for good               netlink.py
├── ForeignInterfaceError  an interface of our name is somebody else's       devices.py
└── OccupiedError        somebody else's XDP program is attached             links.py
TransientError           the next round may succeed
├── DisturbedError       a map changed under every attempt to read it        tables.py
├── NetlinkPassingError  the kernel refused because of what changes by itself  netlink.py
├── NoAnswerError        netlink did not answer                              rtnetlink.py
├── NotReadyError        an interface cannot be made yet                     devices.py
├── NoInterfaceError     the interface to attach to is not there             links.py
└── NoProgramError       the program to attach was not loaded                links.py
WriteError               a batch of writes stopped half-way; becomes a Failure  errors.py
"""

from __future__ import annotations


class HostError(Exception):
    """Trying again does not help: this host needs an operator."""


class TransientError(Exception):
    """The world moved meanwhile; the next round may succeed."""


class WriteError(Exception):
    """`written` rows were written, the row after them was refused with `errno`."""

    def __init__(self, written: int, errno: int, reason: str) -> None:
        self.written, self.errno, self.reason = written, errno, reason
        super().__init__(f"stopped after {written} rows: {reason}")
