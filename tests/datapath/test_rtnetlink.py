"""Reading netlink, where an answer that is not whole must not look like one."""

import pytest

from reconciler.datapath import rtnetlink as rt


def test_a_dump_that_the_kernel_refuses_is_not_an_empty_one() -> None:
    unknown = 250
    with rt.Socket() as route, pytest.raises(rt.NoAnswerError, match="not supported"):
        route.dump(unknown, bytes(16))


def test_a_dump_that_ends_with_an_error_is_not_a_whole_one() -> None:
    """Statistics without a filter are refused when the dump has begun (rtnl_stats_dump)."""
    get_statistics = 94
    with rt.Socket() as route, pytest.raises(rt.NoAnswerError, match="Invalid argument"):
        route.dump(get_statistics, bytes(12))
