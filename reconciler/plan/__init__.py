"""Two HostStates -> Diff; and Plan: the diff against live, ordered, checked by the guards. Pure."""
