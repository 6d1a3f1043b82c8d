"""What a lab consists of: its hosts, what each carries, where everything is. Pure.

your shell ── .254 ─┐ (a switch, in a namespace of its own)
h1 ── eth0 .1 ──────┤  etcd, control, agent
h2 ── eth0 .2 ──────┤  agent, HAProxy, confd-py
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from registrator.config import Config
from registrator.errors import HecdError, NotFound

MOST_HOSTS = 200
NETWORKS = tuple(f"10.{n}.0.0/24" for n in range(99, 79, -1))
LEASE_TTL_S = 5
NODE_LOST_AFTER_S = 0.5
CLIENT_PORT, PEER_PORT = 2379, 2380


@dataclass(frozen=True)
class Host:
    """One host of the lab: its name, its address in the lab's network, its roles."""

    name: str
    address: str
    roles: tuple[str, ...]

    @property
    def zone(self) -> str:
        """a and b in turn, for placements to speak of."""
        return "ab"[int(self.address.rpartition(".")[2]) % 2 - 1]

    @property
    def mac(self) -> str:
        """It follows from the address, so that neighbours find a host that was rebooted."""
        return "02:4c:" + ":".join(f"{octet:02x}" for octet in ipaddress.IPv4Address(self.address).packed)


@dataclass(frozen=True)
class Lab:
    """The lab below `folder`. `link` is the one thing of it that the machine's own network shows."""

    folder: Path
    network: str
    link: str
    hosts: tuple[Host, ...]

    @property
    def outside(self) -> str:
        """The address of the user's shell."""
        return str(ipaddress.IPv4Network(self.network)[-2])

    @property
    def vip(self) -> str:
        """The address that its load balancers share; "" if there is but one."""
        edges = sum("edge" in host.roles for host in self.hosts)
        return str(ipaddress.IPv4Network(self.network)[-3]) if edges > 1 else ""

    @property
    def switch(self) -> Path:
        return self.folder / "switch"

    @property
    def desk(self) -> Path:
        """Settings for commands typed in the user's shell."""
        return self.folder / "desk" / "hecd.toml"

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Of etcd."""
        return tuple(f"{host.address}:{CLIENT_PORT}" for host in self.hosts if "etcd" in host.roles)

    def host(self, name: str) -> Host:
        """Raises NotFound."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise NotFound(f"the lab has no host {name!r}", hint=f"Its hosts: {', '.join(h.name for h in self.hosts)}.")

    def home(self, host: Host) -> Path:
        """Everything of one host."""
        return self.folder / host.name

    def namespace(self, host: Host) -> Path:
        return self.home(host) / "net"

    def settings_file(self, host: Host) -> Path:
        return self.home(host) / "hecd.toml"

    def switched_on(self, host: Host, program: str = "host") -> Path:
        """The file whose presence lets a program of the host, or all of them, run."""
        return self.home(host) / "on" / program

    def settings(self, host: Host) -> Config:
        """What the host's own programs are told."""
        return Config(
            node=host.name,
            roles=host.roles,
            address=host.address,
            root=str(self.home(host)),
            etcd=self.endpoints,
            lease_ttl=LEASE_TTL_S,
            node_lost_after=NODE_LOST_AFTER_S,
            labels=(f"zone={host.zone}",),
        )

    @property
    def desk_settings(self) -> Config:
        """What commands in the user's shell are told. The bridge is never made."""
        return Config(node="desk", root=str(self.desk.parent), etcd=self.endpoints, bridge=f"{self.link}-0")


def planned(folder: Path, count: int, edges: int, etcd: int, taken: Iterable[str], link: str) -> Lab:
    """A lab of `count` hosts: the first `etcd` carry etcd and control, the last `edges` a load balancer, all work.

    `taken` are networks that the machine has already. Raises HecdError, naming every number that cannot be.
    """
    faults = list(_faults(count, edges, etcd))
    if faults:
        raise HecdError("this lab cannot be", details=tuple(faults), hint="As in: hecd lab up 5 --edges 2 --etcd 3")
    network = _free(list(taken))
    addresses = ipaddress.IPv4Network(network)
    hosts = []
    for n in range(1, count + 1):
        roles = ["worker"]
        roles += ["edge"] if n > count - edges else []
        roles += ["etcd", "control"] if n <= etcd else []
        hosts.append(Host(f"h{n}", str(addresses[n]), tuple(roles)))
    return Lab(folder, network, link, tuple(hosts))


def written(lab: Lab) -> str:
    """The lab as text, for `read`."""
    return json.dumps({**asdict(lab), "folder": str(lab.folder)}, indent=2)


def read(text: str) -> Lab:
    """The lab that `written` wrote. Raises ValueError, KeyError, TypeError where it is another text."""
    found = json.loads(text)
    hosts = tuple(Host(h["name"], h["address"], tuple(h["roles"])) for h in found["hosts"])
    return Lab(Path(found["folder"]), found["network"], found["link"], hosts)


def settings_text(config: Config) -> str:
    """The settings as a hecd.toml: all but what is nothing or 0, as what is not said depends on `root`."""
    # JSON's strings, numbers and lists of strings are TOML's
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in asdict(config).items() if value)


def _faults(count: int, edges: int, etcd: int) -> Iterator[str]:
    if not 1 <= count <= MOST_HOSTS:
        yield f"{count} hosts: 1 to {MOST_HOSTS}"
    if not 0 <= edges <= count:
        yield f"{edges} edges on {count} hosts: 0 to {count}"
    if not 1 <= etcd <= min(count, 7):
        yield f"{etcd} members of etcd on {count} hosts: 1 to {min(count, 7)}, better an odd number"


def _free(taken: Sequence[str]) -> str:
    used: Collection[ipaddress.IPv4Network] = [ipaddress.IPv4Network(t, strict=False) for t in taken]
    for network in NETWORKS:
        if not any(ipaddress.IPv4Network(network).overlaps(other) for other in used):
            return network
    raise HecdError(f"no network is free for a lab: {NETWORKS[-1]} to {NETWORKS[0]} are all in use on this machine")
