"""Every problem of references, addresses and numbers: its place, its code and its whole message."""

import pytest

from reconciler.manifest.codes import CODES
from tests.model.repository import HOSTS, endpoint, manifest, many, problems

HEAD = """\
apiVersion: reconciler/v1alpha1
kind: {}
metadata: {{name: {}, namespace: {}}}
spec: {{{}}}
"""
FOREIGN = manifest("Host", "out", {"underlay": "172.31.9.9", "managed": False})


def vpc(spec: str, name: str = "new", namespace: str = "shop") -> str:
    """A VPC whose spec stands on line 4, from column 7."""
    return HEAD.format("VPC", name, namespace, spec)


def net(spec: str, name: str = "new", namespace: str = "shop") -> str:
    """A Network likewise."""
    return HEAD.format("Network", name, namespace, spec)


def end(spec: str, name: str = "web-9", namespace: str = "shop") -> str:
    """An Endpoint likewise."""
    return HEAD.format("Endpoint", name, namespace, spec)


def on_edge(rest: str, name: str = "web-9") -> str:
    """An Endpoint of web on edge-1."""
    return end(f"network: web, host: edge-1, {rest}", name)


Case = tuple[dict[str, str], list[str]]
CASES: dict[str, Case] = {
    "a manifest given twice": (
        {
            "a.yaml": on_edge("addresses: [10.1.0.11]"),
            "b.yaml": on_edge("addresses: [10.1.0.12]"),
        },
        [
            "b.yaml:3:18: REF1001 error: Endpoint shop/web-9 is given twice, first in a.yaml; "
            "remove one, or give it another name"
        ],
    ),
    "references to nothing": (
        {
            "a.yaml": end("network: wbe, host: rack-7, addresses: [10.1.0.11]"),
            "b.yaml": net("vpc: core, cidrs: [10.2.0.0/24]"),
        },
        [
            "a.yaml:4:17: REF1002 error: there is no Network shop/wbe; did you mean shop/web?",
            "a.yaml:4:28: REF1002 error: there is no Host rack-7; add it, or name another",
            "b.yaml:4:13: REF1002 error: there is no VPC shop/core; did you mean shop/shop?",
        ],
    ),
    "references that nobody granted": (
        {
            "a.yaml": net(
                "vpc: {namespace: shop, name: shop}, cidrs: [10.2.0.0/24]", namespace="blue"
            ),
            "b.yaml": end(
                "network: {namespace: shop, name: web}, host: edge-1, addresses: [10.1.0.11]",
                namespace="blue",
            ),
        },
        [
            "a.yaml:4:13: REF1003 error: VPC shop/shop does not admit namespace blue; "
            "its owner grants that with spec.allowedFrom",
            "b.yaml:4:17: REF1003 error: Network shop/web does not admit namespace blue; "
            "its owner grants that with spec.allowedFrom",
        ],
    ),
    "an attachment on a foreign host": (
        {
            "a.yaml": end(
                "network: web, host: out, addresses: [10.1.0.11], attach: {interface: tap0}"
            ),
            "b.yaml": FOREIGN,
        },
        [
            "a.yaml:4:65: REF1005 error: host out is foreign (managed: false), and nobody attaches "
            "anything there; leave it out"
        ],
    ),
    "a VNI used twice, by another tenant whose file is not named": (
        {"a.yaml": vpc("vni: 4097, cidrs: [10.0.0.0/8]", namespace="blue")},
        [
            "network.yaml:4:13: NET1001 error: VNI 4097 is that of VPC blue/new too; "
            "give every VPC of the cluster its own"
        ],
    ),
    "a VNI used twice in one namespace": (
        {"z.yaml": vpc("vni: 4097, cidrs: [10.0.0.0/8]", name="zoo")},
        [
            "z.yaml:4:13: NET1001 error: VNI 4097 is that of VPC shop/shop in network.yaml too; "
            "give every VPC of the cluster its own"
        ],
    ),
    "an underlay address used twice": (
        {"a.yaml": manifest("Host", "edge-3", {"underlay": "172.31.1.11"})},
        [
            "a.yaml:1:108: NET1002 error: underlay address 172.31.1.11 is that of Host edge-1 too; "
            "give every host its own"
        ],
    ),
    "CIDRs of a VPC that overlap": (
        {"a.yaml": vpc("vni: 7, cidrs: [10.1.0.0/16, 10.0.0.0/8]")},
        [
            "a.yaml:4:24: NET1003 error: 10.1.0.0/16 lies in 10.0.0.0/8 of this VPC; "
            "remove one of them"
        ],
    ),
    "networks outside their VPC, overlapping and too small": (
        {
            "a.yaml": net(
                "vpc: shop, cidrs: "
                "[192.168.1.0/24, 10.1.0.128/25, 10.3.0.0/24, 10.3.0.0/25, 10.4.0.0/32]"
            )
        },
        [
            "a.yaml:4:27: NET1004 error: 192.168.1.0/24 is outside VPC shop/shop "
            "(10.0.0.0/8, 2001:db8::/32); choose a CIDR inside, or widen the VPC",
            "a.yaml:4:43: NET1005 error: 10.1.0.128/25 overlaps 10.1.0.0/24 of Network shop/web in "
            "network.yaml; choose CIDRs that are apart",
            "a.yaml:4:71: NET1005 error: 10.3.0.0/25 overlaps 10.3.0.0/24 of this network; "
            "choose CIDRs that are apart",
            "a.yaml:4:84: NET1006 error: 10.4.0.0/32 has no room for a gateway and an endpoint; "
            "use a /31 or shorter",
        ],
    ),
    "gateways": (
        {
            "a.yaml": net("vpc: shop, cidrs: [10.3.0.0/24], gateways: [10.3.0.255]"),
            "b.yaml": net("vpc: shop, cidrs: [10.4.0.0/24], gateways: [10.3.0.2]", "b"),
            "c.yaml": net(
                "vpc: shop, cidrs: [10.5.0.0/24, 2001:db8:5::/64], gateways: [10.5.0.1]", "c"
            ),
            "d.yaml": net("vpc: shop, cidrs: [2001:db8:6::/64], gateways: ['2001:db8:6::']", "d"),
        },
        [
            "a.yaml:4:52: NET1008 error: gateway 10.3.0.255 is the broadcast address of "
            "10.3.0.0/24; choose another inside",
            "b.yaml:4:52: NET1008 error: gateway 10.3.0.2 is outside 10.4.0.0/24; "
            "choose an address inside",
            "c.yaml:4:68: NET1007 error: 1 gateways for 2 CIDRs; "
            "give one for each CIDR in the same order, or none",
            "d.yaml:4:56: NET1008 error: gateway 2001:db8:6:: is the routers' anycast address of "
            "2001:db8:6::/64; choose another inside",
        ],
    ),
    "no host that bounces": (
        {
            "hosts.yaml": HOSTS.replace(".1.11", ".1.11, cordon: true").replace(
                ".2.11", ".2.11, bounce: false"
            )
        },
        [
            "network.yaml:9:7: NET1009 error: no host can take the role of bouncer: every host is "
            "foreign, cordoned or has bounce: false; let at least one host bounce"
        ],
    ),
    "no host at all": (
        {"hosts.yaml": ""},
        [
            "network.yaml:4:7: NET1009 error: no host can take the role of divider: "
            "the commit has no Host; let at least one host divide",
            "network.yaml:9:7: NET1009 error: no host can take the role of bouncer: "
            "the commit has no Host; let at least one host bounce",
        ],
    ),
    "fewer hosts than wanted": (
        {"a.yaml": net("vpc: shop, cidrs: [10.3.0.0/24], bouncers: {count: 5}")},
        [
            "a.yaml:4:59: NET1010 warning: Network shop/new wants 5 bouncers, and only 2 hosts can "
            "be one; add hosts, or ask for fewer"
        ],
    ),
    "a host that is an endpoint twice of one VPC": (
        {
            "a.yaml": on_edge("addresses: [10.1.0.11], attach: {host: true}", "a"),
            "b.yaml": on_edge("addresses: [10.1.0.12], attach: {host: true}", "b"),
            "c.yaml": end(
                "network: web, host: edge-2, addresses: [10.1.0.13], attach: {host: true}", "c"
            ),
        },
        [
            "b.yaml:4:75: NET1011 error: host edge-1 already reaches those addresses as "
            "Endpoint shop/a; attach a network namespace instead"
        ],
    ),
    "a host that is an endpoint of a VPC that hides the underlay": (
        {
            "a.yaml": many(
                manifest("VPC", "v", {"vni": 9, "cidrs": ["172.16.0.0/12"]}, "blue"),
                manifest("Network", "net", {"vpc": "v", "cidrs": ["172.16.1.0/24"]}, "blue"),
            ),
            "b.yaml": end(
                "network: net, host: edge-1, addresses: [172.16.1.9], attach: {host: true}",
                namespace="blue",
            ),
        },
        [
            "b.yaml:4:76: NET1011 error: VPC blue/v holds 172.31.1.11, the underlay address of "
            "host edge-1, so host edge-1 would lose its way to the underlay; "
            "attach a network namespace instead"
        ],
    ),
    "addresses outside and reserved": (
        {
            "a.yaml": on_edge(
                "addresses: [10.1.9.4, 10.1.0.1, 10.1.0.0, 10.1.0.255, '2001:db8:1::']"
            )
        },
        [
            "a.yaml:4:48: NET1012 error: address 10.1.9.4 is outside network web "
            "(10.1.0.0/24, 2001:db8:1::/64); choose one inside, or widen the network",
            "a.yaml:4:58: NET1013 error: address 10.1.0.1 is the gateway of network web; "
            "choose another, such as 10.1.0.2",
            "a.yaml:4:68: NET1013 error: address 10.1.0.0 is the network address of network web; "
            "choose another, such as 10.1.0.3",
            "a.yaml:4:78: NET1013 error: address 10.1.0.255 is the broadcast address of network "
            "web; choose another, such as 10.1.0.4",
            "a.yaml:4:90: NET1013 error: address 2001:db8:1:: is the routers' anycast address of "
            "network web; choose another, such as 2001:db8:1::2",
        ],
    ),
    "addresses used twice, which is not reported of their derived MACs as well": (
        {
            "a.yaml": on_edge("addresses: [10.1.0.11]", "a"),
            "b.yaml": on_edge("addresses: [10.1.0.11, 2001:db8:1::2, '2001:DB8:1::2']", "b"),
            "c.yaml": on_edge("addresses: [10.1.0.11]", "c"),
        },
        [
            "b.yaml:4:48: NET1014 error: address 10.1.0.11 is that of Endpoint shop/a in a.yaml "
            "too; choose another, such as 10.1.0.2",
            "b.yaml:4:74: NET1014 error: address 2001:db8:1::2 is that of this endpoint too; "
            "choose another, such as 2001:db8:1::3",
            "c.yaml:4:48: NET1014 error: address 10.1.0.11 is that of Endpoint shop/a in a.yaml "
            "too; choose another, such as 10.1.0.3",
        ],
    ),
    "endpoints without an address, each offered another one": (
        {
            "a.yaml": end("network: web, host: edge-1", "a"),
            "b.yaml": end("network: web, host: edge-1", "b"),
            "c.yaml": on_edge("addresses: [10.1.0.2]", "c"),
        },
        [
            'a.yaml:4:7: NET1015 error: Endpoint shop/a has no address; add "addresses: '
            '[10.1.0.3, 2001:db8:1::2]" to its spec',
            'b.yaml:4:7: NET1015 error: Endpoint shop/b has no address; add "addresses: '
            '[10.1.0.4, 2001:db8:1::3]" to its spec',
        ],
    ),
    "an endpoint without an address in a full network": (
        {
            "a.yaml": net("vpc: shop, cidrs: [10.3.0.0/30]"),
            "b.yaml": end("network: new, host: edge-1, addresses: [10.3.0.2]", "b"),
            "c.yaml": end("network: new, host: edge-1", "c"),
        },
        [
            "c.yaml:4:7: NET1015 error: Endpoint shop/c has no address; "
            "network new has none left, so widen it"
        ],
    ),
    "MACs": (
        {
            "a.yaml": on_edge("addresses: [10.1.0.11], mac: '02:00:00:00:00:01'", "a"),
            "b.yaml": on_edge("addresses: [10.1.0.12], mac: '02:00:00:00:00:07'", "b"),
            "c.yaml": on_edge("addresses: [10.1.0.13], mac: '02:00:00:00:00:07'", "c"),
            "d.yaml": on_edge("addresses: [10.1.0.14], mac: '02:01:0a:01:00:0f'", "d"),
            "e.yaml": on_edge("addresses: [10.1.0.15]", "e"),
        },
        [
            "a.yaml:4:65: NET1017 error: MAC 02:00:00:00:00:01 is the virtual router's; "
            "choose another, or leave it out",
            "c.yaml:4:65: NET1016 error: MAC 02:00:00:00:00:07 is that of Endpoint shop/b in "
            "b.yaml too; choose another, or leave it out",
            "e.yaml:4:7: NET1016 error: derived MAC 02:01:0a:01:00:0f is that of Endpoint shop/d "
            "in d.yaml too; write another one down",
        ],
    ),
    "interfaces claimed twice": (
        {
            "a.yaml": on_edge("addresses: [10.1.0.11], attach: {interface: eth0}", "a"),
            "b.yaml": on_edge("addresses: [10.1.0.12], attach: {interface: tap0}", "b"),
            "c.yaml": on_edge("addresses: [10.1.0.13], attach: {interface: tap0}", "c"),
            "d.yaml": on_edge("addresses: [10.1.0.14], attach: {interface: rv0123456789a}", "d"),
            "e.yaml": on_edge("addresses: [10.1.0.15], attach: {tap: {name: tap0}}", "e"),
            "f.yaml": on_edge("addresses: [10.1.0.16], attach: {tap: {}}", "f"),
        },
        [
            "a.yaml:4:80: NET1018 error: interface eth0 is host edge-1's own way out; name another",
            "c.yaml:4:80: NET1018 error: interface tap0 of host edge-1 is that of Endpoint shop/b "
            "in b.yaml too; name another",
            "d.yaml:4:80: NET1018 error: interface rv0123456789a has a name that veths made here "
            "have; name another",
            "e.yaml:4:81: NET1018 error: interface tap0 of host edge-1 is that of Endpoint shop/b "
            "in b.yaml too; name another",
        ],
    ),
    "places in network namespaces claimed twice": (
        {
            "a.yaml": on_edge("addresses: [10.1.0.11], attach: {veth: {netns: x}}", "a"),
            "b.yaml": on_edge("addresses: [10.1.0.12], attach: {veth: {netns: x}}", "b"),
            "c.yaml": on_edge("addresses: [10.1.0.13]", "c"),
            "d.yaml": on_edge("addresses: [10.1.0.14], attach: {veth: {netns: shop.c}}", "d"),
            "e.yaml": on_edge(
                "addresses: [10.1.0.15], attach: {veth: {netns: shop.c, interface: eth1}}", "e"
            ),
            "f.yaml": end(
                "network: web, host: edge-2, addresses: [10.1.0.16], "
                "attach: {veth: {netns: shop.c}}",
                "f",
            ),
        },
        [
            "b.yaml:4:75: NET1018 error: interface eth0 in network namespace x is that of "
            "Endpoint shop/a in a.yaml too; name another interface or namespace",
            "d.yaml:4:75: NET1018 error: interface eth0 in network namespace shop.c is that of "
            "Endpoint shop/c in c.yaml too; name another interface or namespace",
        ],
    ),
    "networks of one number": (  # names found by trying
        {
            "a.yaml": net("vpc: shop, cidrs: [10.3.0.0/24]", "n70920"),
            "b.yaml": net("vpc: shop, cidrs: [10.4.0.0/24]", "n128724"),
        },
        [
            "a.yaml:3:18: NET1019 error: the number of Network shop/n70920, a hash of its name, is "
            "that of Network shop/n128724 too; "
            "add the annotation reconciler/salt with any text to this one"
        ],
    ),
    "label sets of one identity": (
        {
            "a.yaml": endpoint("a", "10.1.0.11", labels={"app": "a22877"}),
            "b.yaml": endpoint("b", "10.1.0.12", labels={"app": "a141969"}),
            "c.yaml": endpoint("c", "10.1.0.13", labels={"app": "a22877"}),
        },
        [
            "b.yaml:1:116: NET1019 error: the identity of Endpoint shop/b, a hash of its labels, "
            "is that of Endpoint shop/a, which has others; add a label to either"
        ],
    ),
    "endpoints of one interface name": (
        {
            "a.yaml": on_edge("addresses: [10.1.0.11]", "e3529592"),
            "b.yaml": on_edge("addresses: [10.1.0.12]", "e7888779"),
        },
        [
            "b.yaml:3:18: NET1019 error: the interface name rvdb79f66fcce, a hash of the "
            "endpoint's, is that of Endpoint shop/e3529592 too; rename one of them"
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_problem_is_reported_with_its_place_and_remedy(name: str) -> None:
    files, expected = CASES[name]
    assert problems(files) == expected


def test_every_code_of_references_and_numbers_has_a_case() -> None:
    seen = {line.split()[1] for _, expected in CASES.values() for line in expected}
    elsewhere = {"NET1020"}  # takes thousands of manifests: test_build.py
    assert seen | elsewhere == {code for code in CODES if code.startswith(("REF", "NET"))}


def test_a_salt_resolves_a_clash_of_network_numbers() -> None:
    cidrs = {"n70920": "10.3.0.0/24", "n128724": "10.4.0.0/24"}
    files = {
        f"{name}.yaml": manifest(
            "Network",
            name,
            {"vpc": "shop", "cidrs": [cidr]},
            "shop",
            annotations={"reconciler/salt": "again"} if name == "n70920" else {},
        )
        for name, cidr in cidrs.items()
    }
    assert problems(files) == []


def test_networks_of_one_number_in_two_vpcs_are_no_problem() -> None:
    files = {
        "a.yaml": vpc("vni: 9, cidrs: [10.0.0.0/8]"),
        "b.yaml": net("vpc: shop, cidrs: [10.3.0.0/24]", "n70920"),
        "c.yaml": net("vpc: new, cidrs: [10.3.0.0/24]", "n128724"),
    }
    assert problems(files) == []


def test_more_bouncers_than_a_set_holds_are_refused() -> None:
    files = {"a.yaml": net("vpc: shop, cidrs: [10.3.0.0/24], bouncers: {count: 9}")}
    (line,) = problems(files)
    assert line.startswith("a.yaml:4:59: SCHEMA1007 error:")
