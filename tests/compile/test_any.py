"""Any repository whose documents are valid one by one is either compiled or has a problem."""

from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from reconciler.compile.bind import bind
from reconciler.compile.host import compile_all
from reconciler.compile.serial import dump, load
from reconciler.manifest.document import Document
from reconciler.manifest.problem import Severity
from reconciler.model.build import build
from tests.compile.facts import complete
from tests.compile.topologies import document

# Few names and addresses, so that most things meet; some of them on the edges of their ranges.
NAMES = st.sampled_from(["a", "b", "c"])
REFERENCES = st.one_of(NAMES, st.fixed_dictionaries({"name": NAMES, "namespace": NAMES}))
RANGES = (
    "10.0.0.0/8 10.1.0.0/24 10.1.0.128/25 10.1.1.0/30 10.1.2.4/31 10.1.3.7/32 10.2.0.0/16 "
    "2001:db8::/32 2001:db8:1::/64 2001:db8:1::/127 172.31.0.0/16"
).split()
CIDRS = st.lists(st.sampled_from(RANGES), min_size=1, max_size=3, unique=True)
ADDRESSES = ["10.1.0.0", "10.1.0.1", "10.1.0.2", "10.1.0.130", "10.1.0.255", "10.1.1.2", "10.1.2.5"]
ADDRESSES += ["10.2.0.9", "2001:db8:1::", "2001:db8:1::1", "2001:db8:1::2", "2001:DB8:1:0::2"]
PLACEMENT = st.fixed_dictionaries(
    {}, optional={"count": st.integers(1, 8), "zones": st.sampled_from(["spread", "any"])}
)
ATTACH = st.one_of(
    st.just({"host": True}),
    st.sampled_from(["tap0", "eth0", "rv0123456789a"]).map(lambda name: {"interface": name}),
    st.fixed_dictionaries(
        {}, optional={"netns": st.sampled_from(["x", "a.a", "b.a"]), "interface": NAMES}
    ).map(lambda veth: {"veth": veth}),
)
GRANT = st.sampled_from(
    [
        [{"namespaceSelector": {}}],
        [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "a"}}}],
    ]
)


def optional(**fields: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Fields that may be absent."""
    return {"optional": fields}


HOSTS = st.fixed_dictionaries(
    {"underlay": st.sampled_from(["172.31.0.1", "172.31.0.2", "172.30.0.3", "10.1.0.9"])},
    **optional(
        cordon=st.booleans(), managed=st.booleans(), bounce=st.booleans(), weight=st.integers(1, 9)
    ),
)
VPCS = st.fixed_dictionaries(
    {"vni": st.integers(1, 4), "cidrs": CIDRS}, **optional(dividers=PLACEMENT, allowedFrom=GRANT)
)
NETWORKS = st.fixed_dictionaries(
    {"vpc": REFERENCES, "cidrs": CIDRS},
    **optional(
        bouncers=PLACEMENT,
        allowedFrom=GRANT,
        gateways=st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=2),
    ),
)
ENDPOINTS = st.fixed_dictionaries(
    {"network": REFERENCES, "host": NAMES},
    **optional(
        addresses=st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=3, unique=True),
        mac=st.sampled_from(["02:00:00:00:00:01", "02:00:00:00:00:02", "02:01:0A:01:00:02"]),
        attach=ATTACH,
    ),
)


def of_kind(kind: str, specs: st.SearchStrategy[Any]) -> st.SearchStrategy[Document]:
    """Documents of a kind in one of three namespaces."""
    space = st.just("") if kind == "Host" else NAMES
    return st.builds(lambda *each: document(kind, *each), space, NAMES, specs)


COMMITS = st.builds(
    lambda *parts: [each for part in parts for each in part],
    st.lists(of_kind("Host", HOSTS), max_size=3),
    st.lists(of_kind("VPC", VPCS), max_size=3),
    st.lists(of_kind("Network", NETWORKS), max_size=4),
    st.lists(of_kind("Endpoint", ENDPOINTS), max_size=6),
)


def compile_or_refuse(found: list[Document]) -> None:
    """Build, and go all the way if there is a topology."""
    made = build(found)
    wrong = any(each.severity is Severity.ERROR for each in made.findings)
    assert (made.topology is None) == wrong
    event("problems" if wrong else "topology")
    if made.topology is not None:
        for state in compile_all(made.topology).values():
            bound = bind(state, complete(state))
            assert bound.waiting == ()
            assert load(dump(bound.state)) == bound.state


@given(COMMITS)
@settings(max_examples=300)
def test_any_commit_is_compiled_or_has_a_problem(found: list[Document]) -> None:
    compile_or_refuse(found)


def consistent(endpoints: list[Document]) -> list[Document]:
    """The endpoints of namespace a, in a cluster where those of network a have all they need."""
    cidrs = ["10.1.0.0/24", "2001:db8:1::/64"]
    base = [
        document("Host", "", "a", {"underlay": "172.31.0.1"}),
        document("Host", "", "b", {"underlay": "172.31.0.2"}),
        document("VPC", "a", "a", {"vni": 1, "cidrs": ["10.0.0.0/8", "2001:db8::/32"]}),
        document("Network", "a", "a", {"vpc": "a", "cidrs": cidrs}),
    ]
    rest = {each.name: each for each in endpoints if each.namespace == "a"}
    return [*base, *rest.values()]


@given(st.lists(of_kind("Endpoint", ENDPOINTS), max_size=6).map(consistent))
@settings(max_examples=300)
def test_what_endpoints_share_is_a_problem_or_harmless(found: list[Document]) -> None:
    compile_or_refuse(found)
