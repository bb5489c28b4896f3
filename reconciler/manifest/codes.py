"""CODES: every code a problem can have, with what `reconciler explain` says about it.

A code is never reused and never changes its meaning; a new finding takes the next free number.
SRC is about files, YAML about their text, SCHEMA about single documents, REF about references
between documents, NET about addresses and numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Code:
    """`example` is a manifest, or part of one, that has the problem; '' where none would help."""

    title: str
    explanation: str
    remedy: str
    example: str = ""


CODES: Mapping[str, Code] = MappingProxyType(
    {
        "SRC1001": Code(
            "File not read",
            "The entry of the commit is not a plain file of a reasonable size: a symbolic link, a "
            "submodule, a file larger than the limit, or a path that is not UTF-8. Manifests are "
            "read from the commit's own objects, so that a commit means the same everywhere.",
            "Commit a plain file in its place, split it, or move it out of the manifests' folder.",
        ),
        "YAML1001": Code(
            "Not UTF-8",
            "Manifests are UTF-8 text, with or without a byte order mark.",
            "Save the file as UTF-8.",
        ),
        "YAML1002": Code(
            "Forbidden character",
            "The file holds a control character, half of a surrogate pair, or a line separator "
            "that YAML 1.1 and 1.2 count differently; a file with NUL bytes is not a text at all.",
            "Remove the character, or move a binary file out of the manifests' folder.",
            'name: "web\\0"',
        ),
        "YAML1003": Code(
            "Syntax error",
            "The text is not YAML 1.2, or not JSON in a file named .json. The documents before and "
            "after the broken one are checked all the same.",
            "Correct the text; often it is the indentation, a missing quote or an open bracket.",
            "cidrs: [10.1.0.0/24",
        ),
        "YAML1004": Code(
            "Key given twice",
            "A mapping has the same key twice; readers disagree about which of the two counts.",
            "Keep one of them.",
            "spec:\n  host: edge-1\n  host: edge-2",
        ),
        "YAML1005": Code(
            "Ambiguous value",
            "An unquoted value means one thing in YAML 1.2 and another in YAML 1.1, which many "
            "tools still read: there, `no` is false, `010` is 8, `12:34:56:12:34:56` is a number.",
            "Quote it if it is a text; write true, false or a plain decimal number otherwise.",
            "mac: 12:34:56:12:34:56",
        ),
        "YAML1006": Code(
            "Key is not a text",
            "The keys of a mapping are texts here, as in JSON.",
            "Quote the key.",
            "labels: {1: one}",
        ),
        "YAML1007": Code(
            "Tag or directive",
            "Tags such as `!!binary` or `!mine`, and the directives `%TAG` and `%YAML 1.1`, change "
            "what a text means; manifests do without.",
            "Remove it; quote a value that must be a text.",
            "port: !!str 80",
        ),
        "YAML1008": Code(
            "Aliases too large",
            "The aliases of a document expand to more than a manifest can be, or to themselves.",
            "Write the values out.",
            "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
        ),
        "YAML1009": Code(
            "Nested too deeply",
            "No manifest needs as many levels.",
            "Flatten the document.",
        ),
        "YAML1010": Code(
            "Too large",
            "The file has more documents, or one document more values, than the limit.",
            "Split the file.",
        ),
        "YAML1011": Code(
            "Not a usable number",
            "NaN, infinities and integers beyond 64 bits mean different things to different tools.",
            "Write a number within 64 bits, or quote a text.",
            "vni: .inf",
        ),
        "YAML1012": Code(
            "Merge key",
            "`<<` merges mappings in YAML 1.1 only.",
            "Write the fields out.",
            "spec: {<<: *base}",
        ),
        "SCHEMA1001": Code(
            "Not a manifest",
            "A document is a mapping with `apiVersion`, `kind`, `metadata` and `spec`; this one is "
            "not, or does not say its kind.",
            "Add what is missing, or keep other files outside of the manifests' folder.",
        ),
        "SCHEMA1002": Code(
            "Unknown kind",
            "No kind of this name, or not in this version.",
            "Use one of the kinds that `reconciler explain` lists, with its `apiVersion`.",
            "kind: Netwrok",
        ),
        "SCHEMA1003": Code(
            "Unknown field",
            "The kind has no such field. Nothing is ignored silently, so that a misspelt field "
            "cannot go unnoticed.",
            "Correct or remove it; `reconciler explain KIND` lists the fields.",
            "spec:\n  adresses: [10.1.0.11]",
        ),
        "SCHEMA1004": Code(
            "Missing field",
            "A field that the kind requires is not there.",
            "Add it; `reconciler explain KIND` shows an example.",
        ),
        "SCHEMA1005": Code(
            "Wrong type",
            "The value is a text where a number belongs, a list where a mapping belongs, or such.",
            "Write the value in the form that the message names.",
            "vni: '4097'",
        ),
        "SCHEMA1006": Code(
            "Value not allowed",
            "The value is none of those that the field takes.",
            "Use one of those that the message lists.",
            "zones: everywhere",
        ),
        "SCHEMA1007": Code(
            "Out of range",
            "The number is too small or too large.",
            "Choose one within the range.",
            "vni: 16777216",
        ),
        "SCHEMA1008": Code(
            "Malformed value",
            "The text is not what the field holds: an address, a CIDR, a MAC, a name, a label.",
            "Write it in the form that the message shows.",
            "cidrs: [10.1.0.5/24]",
        ),
        "SCHEMA1009": Code(
            "Too few or too many",
            "The list or mapping has fewer or more members than the field takes.",
            "Add or remove members.",
            "cidrs: []",
        ),
        "SCHEMA1010": Code(
            "Given twice",
            "The same value stands in the list twice.",
            "Remove one of them.",
            "addresses: [10.1.0.11, 10.1.0.11]",
        ),
        "SCHEMA1011": Code(
            "Not enforced yet",
            "The field is checked and kept, but this release does nothing with it.",
            "None needed; do not rely on the field.",
            "bandwidth: {egress: 100M}",
        ),
        "SCHEMA1099": Code(
            "Further problems",
            "The file, or the commit, has more problems than are shown at once.",
            "Correct those that are shown first.",
        ),
        "REF1001": Code(
            "Manifest given twice",
            "Kind, namespace and name are what a manifest is called, wherever it stands; two of "
            "one name cannot both be meant.",
            "Remove one of them, or give it another name.",
        ),
        "REF1002": Code(
            "Reference to nothing",
            "The manifest names a host, network or VPC that the commit does not have.",
            "Add what is missing, or correct the name.",
            "spec: {network: wbe, host: edge-1}",
        ),
        "REF1003": Code(
            "Reference not granted",
            "What belongs to another namespace can be used only where its `spec.allowedFrom` "
            "selects the namespace that refers to it, by the labels of its Namespace.",
            "Ask the owner to grant it, or use something of the same namespace.",
            "vpc: {namespace: core, name: backbone}",
        ),
        # REF1004: an endpoint on a foreign host, which was not supported once.
        "REF1005": Code(
            "Attachment on a foreign host",
            "No agent runs on a host with `managed: false`; whoever runs it attaches its "
            "endpoints.",
            "Leave out `attach`, or name a managed host.",
            "host: appliance, attach: {interface: tap0}  # appliance has managed: false",
        ),
        "NET1001": Code(
            "VNI used twice",
            "The VNI alone tells the packets of VPCs apart on the wire.",
            "Give every VPC of the cluster its own.",
            "vni: 4097",
        ),
        "NET1002": Code(
            "Underlay address used twice",
            "Packets are sent to the underlay address of a host, so it stands for one host.",
            "Correct the address of one of the hosts.",
            "underlay: 172.31.1.11",
        ),
        "NET1003": Code(
            "CIDRs of a VPC overlap",
            "One CIDR of the list lies inside another, so it adds nothing.",
            "Remove one of them.",
            "cidrs: [10.0.0.0/8, 10.1.0.0/16]",
        ),
        "NET1004": Code(
            "Network outside its VPC",
            "The CIDRs of a network are cut from those of its VPC.",
            "Choose a CIDR inside, or widen the VPC.",
            "cidrs: [192.168.1.0/24]  # in a VPC of 10.0.0.0/8",
        ),
        "NET1005": Code(
            "Networks overlap",
            "An address of a VPC lies in one network at most; VPCs may overlap each other.",
            "Choose CIDRs that are apart.",
            "cidrs: [10.1.0.0/24, 10.1.0.128/25]",
        ),
        "NET1006": Code(
            "CIDR too small",
            "A network holds at least its gateway and one endpoint.",
            "Use a CIDR of at least two addresses.",
            "cidrs: [10.1.0.7/32]",
        ),
        "NET1007": Code(
            "Gateways do not match the CIDRs",
            "The list of gateways has one address for each CIDR, in the same order.",
            "Give as many as there are CIDRs, or none: the first usable address is the default.",
            "cidrs: [10.1.0.0/24, 2001:db8:1::/64]\ngateways: [10.1.0.1]",
        ),
        "NET1008": Code(
            "Gateway not usable",
            "A gateway is an address inside its CIDR, other than the network and the broadcast "
            "address, and the routers' anycast address of an IPv6 subnet.",
            "Choose another address inside.",
            "cidrs: [10.1.0.0/24]\ngateways: [10.1.0.255]",
        ),
        "NET1009": Code(
            "No host takes the role",
            "A network needs a bouncer and a VPC a divider; foreign and cordoned hosts are none, "
            "nor are hosts with `bounce: false` or `divide: false`.",
            "Add a host, or let one take the role again.",
        ),
        "NET1010": Code(
            "Fewer hosts than wanted",
            "Less than the stated number of hosts can take the role. It works with fewer, and "
            "survives the failure of fewer.",
            "Add hosts, or ask for fewer.",
            "bouncers: {count: 8}  # in a cluster of four hosts",
        ),
        "NET1011": Code(
            "Host cannot be an endpoint there",
            "A host that is an endpoint itself routes the CIDRs of the VPC to it, so these can "
            "neither hold underlay addresses, nor be those of another VPC that it is attached to.",
            "Attach a network namespace instead.",
            "attach: {host: true}  # in a VPC of 172.16.0.0/12, with an underlay of 172.31.1.0/24",
        ),
        "NET1012": Code(
            "Address outside its network",
            "The addresses of an endpoint lie inside the CIDRs of its network.",
            "Choose an address inside, or widen the network.",
            "addresses: [10.1.9.4]  # in a network of 10.1.0.0/24",
        ),
        "NET1013": Code(
            "Address reserved",
            "The gateway's address, the network and broadcast addresses of an IPv4 subnet and the "
            "routers' anycast address of an IPv6 subnet (its first) are no endpoint's.",
            "Choose another address of the network.",
            "addresses: [10.1.0.1]  # in a network of 10.1.0.0/24",
        ),
        "NET1014": Code(
            "Address used twice",
            "Two endpoints of a VPC have the same address.",
            "Choose another; the message names a free one.",
        ),
        "NET1015": Code(
            "No address",
            "Addresses are written down, never given out, so that every commit means one network.",
            "Add the line that the message shows; its addresses are free.",
            "spec: {network: web, host: edge-1}",
        ),
        "NET1016": Code(
            "MAC used twice",
            "Two endpoints of a VPC have the same MAC.",
            "Choose another, or leave it out to have one derived.",
        ),
        "NET1017": Code(
            "MAC of the virtual router",
            "That MAC is the gateway's in every network.",
            "Choose another, or leave it out to have one derived.",
            "mac: '02:00:00:00:00:01'",
        ),
        "NET1018": Code(
            "Interface used twice",
            "The interface is another endpoint's or the host's own way out, or the network "
            "namespace already has one of that name.",
            "Name another interface or network namespace.",
            "attach: {interface: eth0}  # which is the underlay interface",
        ),
        "NET1019": Code(
            "Numbers clash",
            "Networks and label sets are numbered by a hash, the same on every host and commit, "
            "and interfaces named by one. Rarely, two are the same; none is changed silently.",
            "Do what the message says: an annotation, a label or another name changes the hash.",
        ),
        "NET1020": Code(
            "More than the tables hold",
            "The data plane's tables have room for a fixed number of hosts, networks of one VPC, "
            "endpoints on one host and addresses of one network; bpf/abi.h states them.",
            "Do what the message says: spread, widen or divide.",
        ),
    }
)
