"""Layouts of the BPF maps as NumPy dtypes, learned from BTF, and the Table that holds a map's rows.

Pure: `generated.py` is made from the compiled objects by `make abi`; nothing here reads a file.
"""
