"""Bytes of a file -> documents checked against the JSON Schemas; findings -> problems with places.

Pure. `load.load` is the way in, `place.place` the way out.
"""
