"""One host's loop: wake, snapshot, plan, apply, verify, report; its last good state on disk."""
