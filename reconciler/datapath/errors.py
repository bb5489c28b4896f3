"""The two answers an error of a host can give; every error of reconciler.datapath is one of them.

HostError                this host needs an operator
├── BpfError             a bpf(2) command failed                      libbpf.py
└── MapMismatchError     what is pinned is not what the ABI says      maps.py
TransientError           the next round may succeed                   netlink.py, maps.py
"""

from __future__ import annotations


class HostError(Exception):
    """Trying again does not help: this host needs an operator."""


class TransientError(Exception):
    """The world moved meanwhile; the next round may succeed."""
