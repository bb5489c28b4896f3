"""What all tests share: in CI, nothing that this machine could run is skipped."""

import os
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

# No test asserts a time, nor does hypothesis with its deadline for each example.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

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
