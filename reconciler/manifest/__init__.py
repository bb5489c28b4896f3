"""Bytes of a file -> documents with positions, checked against the JSON Schemas; findings are problems. Pure."""
