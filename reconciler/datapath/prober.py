"""Prober: sends probes to other hosts, and shares the map `health` with the data plane.

What a host answers is heard by the program transit, which notes the time in the map; the map is
mapped into memory, so neither reading nor writing it is a system call.
"""

from __future__ import annotations

import struct
import time

from reconciler.abi.generated import Liveness, OptionFlag, Stage, Wire

CLASS = 0xC0  # CS6, network control (RFC 4594, 3.1): that a link is full makes no host dead
_COARSE = 6  # CLOCK_MONOTONIC_COARSE (clock_gettime(2)), which bpf_ktime_get_coarse_ns() reads
_CONTROL, _CRITICAL = 0x80, 0x40  # flags of Geneve (RFC 8926, 3.4)
_ETHERNET = 0x6558


def health_clock() -> int:
    """Now, as columns of `health` have it: units of 2^Liveness.SHIFT ns, modulo 2^32, never 0."""
    return (time.clock_gettime_ns(_COARSE) >> Liveness.SHIFT) % (1 << 32) or 1


def payload() -> bytes:
    """A probe's UDP payload: Geneve's header, our option, and nothing inside."""
    kind = OptionFlag.CRITICAL | Stage.PROBE
    geneve = struct.pack(">BBHI", 2, _CONTROL | _CRITICAL, _ETHERNET, 0)
    return geneve + struct.pack(">HBBI", Wire.OPTION_CLASS, kind, 1, 0)
