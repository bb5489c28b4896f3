"""Two commits -> what changes, and for whom: manifests, hosts, rows; and how it is shown. Pure."""
