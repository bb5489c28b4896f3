"""The wheel's package data, for hatchling: schemas and compiled programs under reconciler/data.

An editable installation takes both from the work tree, and so gets no copy of them.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WheelData(BuildHookInterface[Any]):
    """Adds the files that live outside the package; refuses to build a wheel without them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling; `version` is "standard" or "editable"."""
        if version == "editable":
            return
        root = Path(self.root)
        for target, pattern in (
            ("schemas", "schemas/*.json"),
            ("bpf", "bpf/build/*.bpf.o"),
            ("systemd", "packaging/*.service"),
        ):
            found = sorted(root.glob(pattern))
            if not found:
                raise FileNotFoundError(f"no {pattern} to put into the wheel; run `make bpf` first")
            for path in found:
                build_data["force_include"][str(path)] = f"reconciler/data/{target}/{path.name}"
