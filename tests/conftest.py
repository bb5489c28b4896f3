"""What all tests share: in CI, nothing that this machine could run is skipped."""

import os
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

# No test asserts a time, nor does hypothesis with its deadline for each example.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

LONGEST = ("vm/", "test_wheel.py", "lab/", "netns/", "agent/test_process.py", "source/")
ALLOWED_SKIP = "not on this machine:"


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The reason of a skip, which pytest keeps as (path, line, "Skipped: reason")."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


def forbid_skip(report: Any) -> None:
    """Turn a skip into a failure, unless its reason names what this machine lacks."""
    if not os.environ.get("CI") or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = skip_reason(report)
    if not reason.startswith(ALLOWED_SKIP):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI ({reason}); only '{ALLOWED_SKIP} ...' may be"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers, none of them begins with what takes longest when the others end."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    folders = [f"/tests/{name}" for name in LONGEST]

    def rank(item: pytest.Item) -> int:
        places = [number for number, each in enumerate(folders) if each in item.path.as_posix()]
        return places[0] if places else len(folders)

    items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests share what they bring up, so one worker has them all; so are virtual machines
    one worker's, for each wants all processors."""
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "vm" if nodeid.startswith("tests/vm/") else str(super()._split_scope(nodeid))

    return Files(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    forbid_skip(report)
    return report
