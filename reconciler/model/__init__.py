"""Documents -> Topology: references, uniqueness, containment. Pure; findings are problems."""
