"""Topology -> HostState: the exact map contents, programs, links and interfaces of every host.

Pure. One module per feature; `bind` fills in the facts that only a host knows.
"""
