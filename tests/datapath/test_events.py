import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.datapath.events import Events, watch_netlink
from tests.datapath.place import Place


@pytest.fixture
def events(place: Place) -> Iterator[Events]:
    place.ip("host", *"link add up0 type veth peer name far0".split())
    place.ip("host", *"link set far0 up".split())
    place.ip("host", *"link set up0 up".split())
    place.ip("host", *"addr add 10.0.0.1/24 dev up0".split())
    made = Events()
    yield made
    made.close()


CHANGES = [
    "link set up0 mtu 1400",
    "link set up0 down",
    "link set up0 address 02:00:00:00:00:77",
    "link add br9 type bridge",
    "link del up0",
    "addr add 10.0.0.2/24 dev up0",
    "route add 10.7.0.0/16 via 10.0.0.9",
    "neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev up0",
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_facts_are_made_of_is_news(place: Place, events: Events, change: str) -> None:
    assert not events.changed()
    place.ip("host", *change.split())
    assert events.changed()
    assert not events.changed()


def test_what_no_fact_is_made_of_is_no_news(place: Place, events: Events) -> None:
    place.ip("host", *"link set up0 mtu 1400".split())
    assert events.changed()
    place.ip("host", *"link set up0 alias uplink".split())
    place.ip("host", *"-6 addr add 2001:db8::1/64 dev up0 nodad".split())
    assert not events.changed()


def test_a_neighbour_that_is_confirmed_is_no_news(place: Place, events: Events) -> None:
    neighbour = "10.0.0.9 lladdr 02:00:00:00:00:09 dev up0 nud"
    place.ip("host", *f"neigh add {neighbour} reachable".split())
    assert events.changed()
    place.ip("host", *f"neigh replace {neighbour} stale".split())
    place.ip("host", *f"neigh replace {neighbour} reachable".split())
    assert not events.changed()
    place.ip("host", *"neigh replace 10.0.0.9 lladdr 02:00:00:00:00:10 dev up0".split())
    assert events.changed()
    place.ip("host", *"neigh del 10.0.0.9 dev up0".split())
    assert events.changed()


def test_a_neighbour_that_nobody_finds_is_news_once(place: Place, events: Events) -> None:
    for _ in range(3):
        place.ip("host", *"neigh replace 10.0.0.9 dev up0 nud failed".split())
        place.ip("host", *"neigh del 10.0.0.9 dev up0".split())
    events.changed()
    place.ip("host", *"neigh replace 10.0.0.9 dev up0 nud failed".split())
    events.changed()
    place.ip("host", *"neigh replace 10.0.0.9 dev up0 nud failed".split())
    assert not events.changed()


def test_missed_events_are_news(place: Place, events: Events, tmp_path: Path) -> None:
    neighbour = "neigh replace 10.0.0.9 dev up0 lladdr 02:00:00:00:00:{:02x}\n"
    changes = [neighbour.format(number % 250) for number in range(2000)]  # more than fit
    flood = tmp_path / "flood"
    flood.write_text("".join(changes))
    place.ip("host", *"neigh add 10.0.0.9 dev up0 lladdr 02:00:00:00:00:09".split())
    assert events.changed()
    place.ip("host", "-batch", str(flood))
    assert events.changed()
    assert not events.changed()


def test_a_change_wakes_from_another_thread(place: Place, events: Events) -> None:
    woken: list[float] = []
    with watch_netlink(lambda: woken.append(time.monotonic())):
        place.ip("host", *"link set up0 mtu 1400".split())
        wait_until(lambda: bool(woken))
    count = len(woken)
    place.ip("host", *"link set up0 mtu 1300".split())
    time.sleep(0.1)
    assert len(woken) == count


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)
