"""HostState <-> kernel: objects, maps, links and interfaces; the edge that plans are applied to.

Errors say what the loop does next: HostError wants an operator, TransientError is tried again.
"""
