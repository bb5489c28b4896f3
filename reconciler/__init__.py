"""The network of a cloud as a git repository, compiled to the exact contents of BPF maps."""

__version__ = "0.1.0"
