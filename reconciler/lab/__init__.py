"""Hosts as network namespaces on one machine, with the same agent in each as on a real host.

The lab builds what a data centre would be (cables, switches, routers) and writes no map itself.
"""
