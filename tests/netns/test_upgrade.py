"""Releases and sizes that change under traffic: no packet is lost, nothing learned is forgotten."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address

import pytest

from reconciler.abi.spec import MapSpec
from reconciler.compile.programs import is_access
from reconciler.datapath import tables
from reconciler.datapath.maps import Layouts, OpenMap
from reconciler.datapath.pins import Noted, Pinned, Pins
from tests.netns.conftest import FILES, MODES, Cloud, in_mode, temporary_lab
from tests.netns.release import ROOT, Release
from tests.netns.stream import Stream

pytestmark = pytest.mark.timeout(600)

ENDS = ("red.l1", "red.l2")  # on alpha and bravo, which only know each other's hosts by paths
HOSTS = ("alpha", "bravo")
NATIVE = pytest.mark.parametrize("running", ["native"], indirect=True)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Release]:
    """This one, one of other layouts, and one that uses a constant as this one does not."""
    folder = tmp_path_factory.mktemp("releases")
    layouts, constants = (Release.copied(folder / name) for name in ("layouts", "constants"))
    layouts.widen("path", "__u32 tariff;\n\t__u32 since;")
    layouts.widen("host", "__u32 tariff;\n\t__u32 zone;")
    layouts.widen("traffic", "__u64 errors;")
    layouts.compile()
    constants.change("reconciler/compile/programs.py", r"PATH_SECONDS = \d+", "PATH_SECONDS = 31")
    return {"this": Release(ROOT), "layouts": layouts, "constants": constants}


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    """A lab of its own, since its agents are replaced; of the attach mode that a test names."""
    files = in_mode({name: FILES[name] for name in ("hosts.yaml", "red.yaml")}, request.param)
    with temporary_lab() as lab:
        yield Cloud.of(lab, tmp_path_factory.mktemp("upgrade"), files)


def wait(condition: Callable[[], object], seconds: float = 60.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


def opened(cloud: Cloud, host: str, name: str) -> OpenMap:
    """A pinned map, as its own BTF says."""
    fd = Pins(cloud.lab.places.bpffs, host).get(Pinned.MAP, name)
    assert fd is not None
    return Layouts().open(name, fd, "")


def spec_of(cloud: Cloud, host: str, name: str) -> MapSpec:
    found = opened(cloud, host, name).spec
    assert found is not None
    return found


def learned(cloud: Cloud, host: str) -> dict[str, str]:
    """The host of each remote endpoint, as packets told it."""
    found = opened(cloud, host, "paths")
    assert found.spec is not None
    keys, values = tables.scan(found.fd, found.spec, found.info.capacity)
    addresses = [str(IPv4Address(key.tobytes()[-4:])) for key in keys["address"]]
    return dict(zip(addresses, [str(IPv4Address(int(h))) for h in values["host"]], strict=True))


def pinned_programs(cloud: Cloud, host: str) -> list[str]:
    return list(Pins(cloud.lab.places.bpffs, host).names(Pinned.PROGRAM))


def sent(cloud: Cloud) -> dict[str, int]:
    """Frames from the stream's endpoints, as their hosts counted them."""
    return {end: cloud.traffic(host, "rx")[end.replace(".", "/")]
            for host, end in zip(HOSTS, ENDS, strict=True)}  # fmt: skip


def packets(cloud: Cloud) -> dict[str, int]:
    """IPv4 packets that the endpoints' own kernels have sent; no segment is larger than a frame."""
    found = {}
    for each in ENDS:
        names, numbers = cloud.run(each, "head", "-2", "/proc/net/snmp").stdout.splitlines()
        found[each] = int(dict(zip(names.split(), numbers.split(), strict=True))["OutRequests"])
    return found


def says(cloud: Cloud, host: str, kind: str) -> None:
    """Wait for a condition of a host's agent."""
    agents, limit = cloud.lab.agents, time.monotonic() + 60
    while agents.view(host).condition(kind).get("status") != "True":
        told = f"{agents.view(host).trouble()}\n{agents.log_tail(host)}"
        assert time.monotonic() < limit, told
        time.sleep(0.1)


def upgrade(cloud: Cloud, release: Release, done: Callable[[str], bool], **more: object) -> None:
    """Replace the agents of both hosts, one after the other; each does the upgrade by itself."""
    for host in HOSTS:
        release.start(cloud.lab, host, **more)
        wait(lambda: done(host))  # noqa: B023  (called at once)
        says(cloud, host, "Ready")


def check(cloud: Cloud, stream: Stream, before: dict[str, int], paths: list[set[str]]) -> None:
    """No packet lost on the way, none uncounted, and paths where they were."""
    stream.go_on()
    for host, known in zip(HOSTS, paths, strict=True):
        assert known <= learned(cloud, host).keys()
    stream.stop()
    assert stream.sent > 1000
    assert not stream.lost
    counted, left = sent(cloud), packets(cloud)
    assert {end: left[end] - counted[end] for end in ENDS} == before


def uncounted(cloud: Cloud) -> dict[str, int]:
    """How many more packets endpoints sent than their hosts counted: no more from then on."""
    limit = time.monotonic() + 20
    while True:
        first, counted, left = packets(cloud), sent(cloud), packets(cloud)
        if first == left:
            return {end: left[end] - counted[end] for end in ENDS}
        assert time.monotonic() < limit


def known_paths(cloud: Cloud) -> list[set[str]]:
    return [set(learned(cloud, host)) for host in HOSTS]


def cycle(
    cloud: Cloud,
    there: Callable[[], None],
    back: Callable[[], None],
) -> None:
    """Both ways under traffic."""
    before = uncounted(cloud)
    for each in (there, back):
        ends = [cloud.member(end) for end in ENDS]
        stream = Stream(*((end.netns, str(end.address(4))) for end in ends))
        try:
            wait(lambda: all(learned(cloud, host) for host in HOSTS))
            paths = known_paths(cloud)
            stream.go_on(0.5)
            each()
            check(cloud, stream, before, paths)
            print(f"\n  {each.__name__}: {stream.sent} datagrams sent, {stream.lost} lost, "
                  f"{stream.echoed} bytes echoed")  # fmt: skip
        finally:
            stream.stop()


@NATIVE
def test_a_release_with_other_layouts_takes_over_and_gives_back_without_losing_a_packet(
    running: Cloud, releases: Mapping[str, Release]
) -> None:
    this = releases["this"]

    def size(host: str) -> int:
        return spec_of(running, host, "paths").value.dtype.itemsize

    first = size("alpha")

    def there() -> None:
        upgrade(running, releases["layouts"], lambda host: size(host) == first + 8)
        for name in ("paths", "hosts", "counters"):
            columns = spec_of(running, "alpha", name).value.dtype.names or ()
            assert {"tariff", "errors"} & set(columns)

    def back() -> None:
        for host in HOSTS:  # the older release says what it cannot take over, and waits
            this.start(running.lab, host)
            says(running, host, "Held")
            held = json.dumps(running.lab.agents.view(host).condition("Held"))
            for said in ("map paths: column tariff is not known here", "column since", "errors"):
                assert said in held
            assert "reconciler apply --upgrade" in held
            shown = this.run(running.lab, host, "show")
            assert json.loads(shown.stdout)["tables"]["endpoints"], shown.stderr
            plan = this.run(running.lab, host, "plan")
            assert plan.returncode == 3
            assert "made anew and filled: maps counters, hosts, paths" in plan.stdout
            done = this.run(running.lab, host, "apply", "--upgrade")
            assert done.returncode == 0, done.stdout + done.stderr
            assert size(host) == first

    cycle(running, there, back)


@NATIVE
def test_maps_four_times_as_large_and_back_lose_no_packet(
    running: Cloud, releases: Mapping[str, Release]
) -> None:
    this, names = releases["this"], ("paths", "counters", "hosts", "endpoints")
    before = {name: spec_of(running, "alpha", name).capacity for name in names}
    larger = {name: 4 * rows for name, rows in before.items()}
    larger["next_hops"] = larger["hosts"]

    def holds(host: str, wanted: Mapping[str, int]) -> bool:
        found = {name: spec_of(running, host, name).capacity for name in wanted}
        return found == wanted

    def there() -> None:
        upgrade(running, this, lambda host: holds(host, larger), capacities=larger)

    def back() -> None:
        for host in HOSTS:
            this.start(running.lab, host, capacities={})
            says(running, host, "Held")
            done = this.run(running.lab, host, "apply", "--upgrade")
            assert done.returncode == 0, done.stdout + done.stderr
            assert holds(host, before)

    cycle(running, there, back)


@pytest.mark.parametrize("running", MODES, indirect=True)
def test_a_constant_that_is_used_for_the_first_time_loses_no_packet(
    running: Cloud, releases: Mapping[str, Release]
) -> None:
    (access,) = (each for each in pinned_programs(running, "alpha") if is_access(each))

    def constants(host: str) -> str:
        pins = Pins(running.lab.places.bpffs, host)
        return str((pins.read_note(Noted.PROGRAM, access) or {})["constants"])

    first = {host: constants(host) for host in HOSTS}

    def there() -> None:
        upgrade(running, releases["constants"], lambda host: constants(host) != first[host])

    def back() -> None:
        upgrade(running, releases["this"], lambda host: constants(host) == first[host])

    cycle(running, there, back)
