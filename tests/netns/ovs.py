"""Open vSwitch as a foreign tunnel end: all in userspace, in one namespace, with files of its own.

Its switch `phy` has the underlay interface and address, `int` the endpoints and the Geneve port;
nothing of the machine's own Open vSwitch, if it has one, is touched.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from reconciler.abi.generated import Wire
from reconciler.lab import netns
from reconciler.model.mac import ROUTER_MAC, format_mac

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
TUNNEL, PORT, TABLES = "geneve0", "h0", {4: "ip,nw_dst", 6: "ipv6,ipv6_dst"}


class Switch:
    """A running Open vSwitch in namespace `inside`; `folder` has its database and sockets."""

    def __init__(self, inside: Path, folder: Path) -> None:
        self._inside, self._folder = inside, folder
        places = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")
        self._environment = {**os.environ, **dict.fromkeys(places, str(folder))}

    def call(self, *command: str) -> str:
        """The output of a command that must succeed, in the switch's namespace."""
        done = subprocess.run(
            ["nsenter", f"--net={self._inside}", "--", *command],
            env=self._environment, capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def vsctl(self, *command: str) -> None:
        """Change the database, and wait until the switch has done what it says."""
        database = f"unix:{self._folder}/db.sock"
        self.call("ovs-vsctl", f"--db={database}", "--timeout=20", *command)

    def flow(self, text: str) -> None:
        """Add an OpenFlow rule to the switch of the endpoints."""
        self.call("ovs-ofctl", "add-flow", "int", text)

    @contextmanager
    def running(self) -> Iterator[None]:
        """While inside, both of its processes run."""
        database = self._folder / "conf.db"
        self.call("ovsdb-tool", "create", str(database), str(SCHEMA))
        with ExitStack() as stack:
            socket = f"--remote=punix:{self._folder}/db.sock"
            stack.enter_context(self._process("ovsdb-server", str(database), socket))
            self._await(self._folder / "db.sock")
            self.vsctl("--no-wait", "init")
            switch = ("ovs-vswitchd", f"unix:{self._folder}/db.sock")
            stack.enter_context(self._process(*switch))
            yield

    @contextmanager
    def _process(self, *command: str) -> Iterator[None]:
        log = self._folder / f"{command[0]}.out"
        with log.open("wb") as out, subprocess.Popen(
            ["nsenter", f"--net={self._inside}", "--", *command, "--no-chdir"],
            env=self._environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            try:
                yield
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()

    @staticmethod
    def _await(path: Path) -> None:
        limit = time.monotonic() + 20
        while not path.exists():
            assert time.monotonic() < limit, f"{path} does not appear"
            time.sleep(0.05)

    def take_underlay(self, interface: str, address: IPv4Address) -> None:
        """Make `phy` the owner of the underlay's address and routes, the interface its port."""
        shown = self.call("ip", "-4", "-o", "addr", "show", "dev", interface).split()
        cidr = shown[shown.index("inet") + 1]
        default = self.call("ip", "-4", "route", "show", "default").split()
        self.vsctl("add-br", "phy", "--", "set", "bridge", "phy", "datapath_type=netdev")
        mac = self.call("cat", f"/sys/class/net/{interface}/address").strip()
        self.vsctl("set", "bridge", "phy", f"other-config:hwaddr={mac}")
        self.vsctl("add-port", "phy", interface)
        self.call("ip", "addr", "flush", "dev", interface)
        self.call("ip", "addr", "add", cidr, "dev", "phy")
        self.call("ip", "link", "set", "phy", "up")
        if "via" in default:
            gateway = default[default.index("via") + 1]
            self.call("ip", "route", "add", "default", "via", gateway, "dev", "phy")
        assert str(address) == cidr.split("/")[0]

    def make_tunnel(self) -> None:
        """One Geneve port for all VPCs and hosts; rules say which."""
        self.vsctl("add-br", "int", "--", "set", "bridge", "int", "datapath_type=netdev")
        self.call("ovs-ofctl", "del-flows", "int")
        options = ("type=geneve", "options:remote_ip=flow", "options:key=flow")
        self.vsctl("add-port", "int", TUNNEL, "--", "set", "interface", TUNNEL, *options)

    def plug(self, namespace: Path, mac: str, addresses: list[str], mtu: int) -> None:
        """An endpoint in a namespace of its own, behind port PORT, by a veth."""
        netns.create(namespace, "")
        self.call("ip", "link", "add", PORT, "mtu", str(mtu), "type", "veth",
                  "peer", "name", "eth0", "address", mac, "mtu", str(mtu),
                  "netns", str(namespace))  # fmt: skip
        self.call("ip", "link", "set", PORT, "up")
        self.vsctl("add-port", "int", PORT)
        inside = ("nsenter", f"--net={namespace}", "--")
        # Userspace reads frames as they are: a checksum left to a card would never be made.
        self.call(*inside, "ethtool", "-K", "eth0", "tx", "off")
        self.call(*inside, "ip", "link", "set", "eth0", "up")
        for each in addresses:
            self.call(*inside, "ip", "addr", "add", each, "dev", "eth0", "nodad")
        router = format_mac(ROUTER_MAC)
        for gateway in ("10.0.1.1", "2001:db8:1::1"):
            if ":" in gateway:  # ARP is answered by a rule, neighbour discovery by nobody
                self.call(*inside, "ip", "neigh", "add", gateway, "lladdr", router, "dev", "eth0")
            way = ("via", gateway, "dev", "eth0", "onlink")
            self.call(*inside, "ip", "route", "add", "default", *way)

    def connect(self, vni: int, mac: str, addresses: list[str], bouncer: IPv4Address) -> None:
        """The rules of bpf/README.md for one endpoint."""
        router = format_mac(ROUTER_MAC)
        digits = router.replace(":", "")
        self.flow(
            f"in_port={PORT},arp,arp_op=1,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],"
            f"set_field:{router}->eth_src,set_field:2->arp_op,"
            "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],"
            f"load:0x{digits}->NXM_NX_ARP_SHA[],push:NXM_OF_ARP_TPA[],"
            "move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],pop:NXM_OF_ARP_SPA[],in_port"
        )
        for kind in ("ip", "ipv6"):
            self.flow(
                f"in_port={PORT},{kind},dl_dst={router},"
                f"actions=set_field:{vni}->tun_id,set_field:{bouncer}->tun_dst,output:{TUNNEL}"
            )
        for each in addresses:
            match = TABLES[ip_address(each).version]
            self.flow(
                f"in_port={TUNNEL},tun_id={vni},dl_dst={mac},{match}={each},actions=output:{PORT}"
            )


def endpoint_mtu(underlay: int = 1500) -> int:
    """As large as any endpoint's."""
    return underlay - Wire.OVERHEAD
