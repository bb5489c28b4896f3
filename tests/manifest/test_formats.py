"""What the texts of manifests may be."""

import pytest

from reconciler.manifest.formats import FORMATS

GOOD = {
    "dns-label": ["a", "web-1", "0", "a" * 63],
    "label-key": ["app", "a.b_c-D", "example.com/app", "topology.kubernetes.io/zone", "a" * 63],
    "label-value": ["", "a", "A.b_c-9", "1"],
    "cidr": ["10.0.0.0/8", "10.1.2.3/32", "2001:db8::/32", "2001:db8::1/128", "240.0.0.0/5"],
    "address": ["10.1.0.11", "2001:db8::1", "2001:DB8::A", "169.254.169.254", "fd00::1"],
    "underlay-address": ["192.0.2.1", "10.0.0.1"],
    "mac": ["02:00:00:00:00:01", "AA:bb:Cc:00:11:22", "12:34:56:12:34:56"],
    "interface": ["eth0", "bond0.100", "veth_a-b", "a" * 15, "eth0@x"],
    "netns": ["shop.web-1", "a", "x_y"],
    "port-name": ["http", "a", "h2c", "a-b-c", "a" * 15],
    "bandwidth": ["1", "100M", "10k", "1G"],
}
BAD = {
    "dns-label": ["", "-a", "a-", "Web", "a_b", "a.b", "a" * 64, "a\n", "é", "٣"],
    "label-key": ["", "/a", "a/", "a/b/c", "-a", "a b", "a\n", "a" * 64, "a..b/c", "é"],
    "label-value": ["-", "a b", "a\n", "a" * 64, "é", ".a"],
    "cidr": [
        *["", "10.0.0.0", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "010.0.0.0/8", "10/8"],
        *["0.0.0.0/0", "::/0", "127.0.0.0/8", "224.0.0.0/8", "fe80::/64", "ff00::/8", "a"],
        *[
            "::ffff:10.0.0.0/104",
            "10.0.0.0/8\n",
            "10.0.0.0/ 8",
            "2001:db8::%eth0/64",
            "10.0.0.0/-1",
        ],
    ],
    "address": [
        *["", "10.1.0.11/24", "10.1.0", "010.1.0.11", "0.0.0.0", "127.0.0.1", "224.0.0.1", "::"],
        *["255.255.255.255", "::1", "fe80::1", "fe80::1%eth0", "2001:db8::1%1", "ff02::1", "web"],
        *["::ffff:10.1.0.1", "10.1.0.11\n", " 10.1.0.11", "٣.1.1.1", "167772161"],
    ],
    "underlay-address": ["2001:db8::1", "127.0.0.1", "0.0.0.0", "192.0.2.1/24", "224.0.0.1", "a"],
    "mac": [
        *["", "02:00:00:00:00", "02-00-00-00-00-01", "0200.0000.0001", "02:00:00:00:00:0g"],
        *["01:00:00:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "02:00:00:00:00:01\n"],
    ],
    "interface": ["", "a" * 16, "a b", "a/b", ".", "..", "a:b", "é", "a\n"],
    "netns": ["", "/a", "a/b", ".", "..", "a b", "a" * 201, "a\n", "é"],
    "port-name": ["", "80", "-a", "a--b", "a-", "HTTP", "a" * 16, "a_b", "a\n"],
    "bandwidth": ["", "0", "1.5M", "10m", "-1", "1T", "10 M", "1" * 12, "1M\n"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name in GOOD for text in GOOD[name]])
def test_a_sound_text_is_accepted(name: str, text: str) -> None:
    FORMATS[name](text)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name in BAD for text in BAD[name]])
def test_an_unsound_text_is_refused_with_a_remedy(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"(?s).+; .+"):
        FORMATS[name](text)


def test_every_format_is_tried() -> None:
    assert set(GOOD) == set(BAD) == set(FORMATS)


@pytest.mark.parametrize(
    ("name", "text", "remedy"),
    [
        ("cidr", "10.1.0.5/24", "write 10.1.0.0/24"),
        ("cidr", "10.1.0.5", "write 10.1.0.5/32 for this one address"),
        ("address", "10.1.0.11/24", "write 10.1.0.11"),
        ("address", "fe80::1%eth0", "write fe80::1"),
        ("dns-label", "Web_1", "such as `web-1`"),
        ("mac", "03:00:00:00:00:01", "such as 02"),
    ],
)
def test_the_remedy_is_what_the_author_meant(name: str, text: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        FORMATS[name](text)


@pytest.mark.parametrize("name", FORMATS)
def test_a_long_text_makes_no_long_message(name: str) -> None:
    with pytest.raises(ValueError, match=r";") as caught:
        FORMATS[name]("x!" * 100_000)
    assert len(str(caught.value)) < 300
