"""The network of one host root: a bridge, a namespace for each container, published ports."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from runtime.errors import InvalidSpec, KernelRefused, MissingProgram, PortTaken, mapped
from runtime.model import PublishedPort
from runtime.networks import (
    cables,
    cryptokey,
    flows,
    kernel,
    membership,
    overlay,
    rules,
    taken,
    topology,
    tunnel,
    wayout,
    wireguard,
)
from runtime.networks.membership import Membership
from runtime.networks.nameserver import NameServer
from runtime.networks.nft import Nft
from runtime.networks.outside import Outside
from runtime.networks.overlay import Overlay, Peer
from runtime.networks.topology import Bridge
from runtime.paths import HostPaths
from runtime.state import held


class Network:
    """Connects containers and takes them away again. Thread-safe, and safe beside other processes on the same root."""

    def __init__(self, paths: HostPaths, bridge: Bridge) -> None:
        self.bridge = bridge
        self._paths = paths
        self._table = f"{rules.TABLES}{paths.id}"
        self._checked: Bridge | None = None
        self._nft = Nft()
        self._outside = Outside(paths.keeper_socket) if paths.rootless else None
        self.names = NameServer(paths, bridge.address)

    def connect(
        self,
        name: str,
        address: str,
        ports: tuple[PublishedPort, ...],
        userns: Path | None = None,
        address6: str = "",
    ) -> None:
        """Give the container a namespace with `address` and `address6`, and publish its ports. Fine if it has them. An
        IPv6 address of a subnet that is no longer there is left out. Who has power in `userns` has it over this
        network. Raises KernelRefused, PortTaken, InvalidSpec."""
        namespace = self._paths.namespace(name)
        if os.path.ismount(namespace):
            return
        address6 = self.bridge.own(address6)
        with held(self._paths.locks / "network", shared=True):
            bridge = self._ensure(membership.read(self._paths))
            try:
                kernel.ensure_namespace(namespace, userns, ipv6=bool(address6))
                token, publishes = os.urandom(6).hex(), bool(ports)
                cables.plug(topology.link(bridge, address, token, publishes=publishes, address6=address6), namespace)
                self._publish(ports, address, address6)
            except BaseException:
                kernel.drop_namespace(namespace)
                raise

    def tune(self, name: str, sysctls: Mapping[str, str]) -> None:
        """Set what of the kernel belongs to the container's network alone. Raises KernelRefused."""
        if sysctls:
            kernel.set_values(self._paths.namespace(name), sysctls)

    def publish(self, ports: tuple[PublishedPort, ...], address: str, address6: str = "") -> None:
        """Lead these ports of the host to the addresses, which may be nobody's yet. Fine if they do. Raises
        KernelRefused, PortTaken, InvalidSpec."""
        address6 = self.bridge.own(address6)
        with held(self._paths.locks / "network", shared=True):
            self._ensure(membership.read(self._paths))
            if not self._publishes(ports, address, address6):
                self._publish(ports, address, address6)

    def attach(self, name: str, address: str, pid: int, *, publishes: bool, address6: str = "") -> None:
        """Connect the namespace that somebody else made for process `pid`. Fine if it is connected. Raises
        KernelRefused."""
        namespace = self._paths.namespace(name)
        if cables.is_namespace_of(pid, namespace):
            return
        with held(self._paths.locks / "network", shared=True):
            bridge = self._ensure(membership.read(self._paths))
            kernel.drop_namespace(namespace)  # an earlier run's
            token, six = os.urandom(6).hex(), bridge.own(address6)
            link = topology.link(bridge, address, token, publishes=publishes, address6=six)
            cables.plug_foreign(link, pid, namespace)

    def disconnect(
        self, name: str, address: str = "", ports: tuple[PublishedPort, ...] = (), address6: str = ""
    ) -> None:
        """Take away what `connect` made; fine if nothing is there."""
        if self._publishes(ports, address, address6):
            if self._outside:
                self._outside.withdraw(address)
            self._unpublish(ports, address, address6)
        kernel.drop_namespace(self._paths.namespace(name))

    @mapped()
    def join(self, wanted: Overlay, peers: Iterable[Peer]) -> list[str]:
        """Reach the containers of these other hosts, and be reached; they have to be told of `vtep_mac` alike, and of
        `vtep_key` where tunnels are encrypted.

        To be called with all peers, as often as wanted: what is right is not touched, what is missing comes back, what
        is too much goes. What was changed, and which peers cannot be, in words.
        Raises InvalidSpec; KernelRefused, where the kernel has no such tunnels or the address is not this host's;
        MissingProgram.
        """
        if faults := overlay.faults(wanted, self.bridge.subnet):
            raise InvalidSpec(self.bridge.name, tuple(faults))
        good, refused = overlay.accepted(peers, wanted, self.bridge.subnet)
        with held(self._paths.locks / "overlay"), held(self._paths.locks / "network", shared=True):
            name, mtu, done = self._ensure_tunnel(wanted, good)
            joined = Membership(wanted, mtu, tuple(good))
            membership.write(self._paths, joined)
            self._checked = None  # somebody may have flushed it
            bridge = self._ensure(joined)
            if count := cables.fit(bridge, self._paths.netns.iterdir()):
                done.append(f"{count} cables brought to an MTU of {bridge.mtu}")
            wanted_entries = overlay.entries(good, bridge, encrypted=wanted.encrypted)
            return done + tunnel.ensure_entries(name, wanted_entries) + refused

    @mapped()
    def leave(self) -> None:
        """Take part in no overlay any more. Containers run on, and reach other hosts no more. Fine if it is so."""
        with held(self._paths.locks / "overlay"), held(self._paths.locks / "network", shared=True):
            if membership.read(self._paths) is None:
                return
            for encrypted in (False, True):
                tunnel.drop_tunnel(overlay.link_name(self._paths.id, encrypted=encrypted))
            membership.forget(self._paths)
            if self._exists:
                cables.fit(self._ensure(None), self._paths.netns.iterdir())

    @property
    def peers(self) -> Sequence[Peer]:
        """The other hosts that `join` was told of last, by whichever process."""
        joined = self.joined
        return joined.peers if joined else ()

    @property
    def vtep_mac(self) -> str:
        """The MAC of this host's tunnel end, made or not."""
        return topology.mac_of(overlay.tunnel_address(self.bridge.subnet))

    def vtep_key(self) -> str:
        """The public key of this host's encrypted tunnels; made at first. Raises MissingProgram, KernelRefused."""
        with held(self._paths.locks / "overlay"):
            return wireguard.public_key(wireguard.private_key(self._paths.wireguard_key))

    @property
    def name_server(self) -> str:
        """The address of the root's own name server; "" while there is none."""
        return self.bridge.address if self.names.serves else ""

    @property
    def joined(self) -> Membership | None:
        """The overlay this root takes part in."""
        return membership.read(self._paths)

    def teardown(self) -> None:
        """Take bridge and rules away. Only while no container has an address, and outside of overlays: others use the
        routes of this host. Fine if there are none.

        Rules are made before the bridge, and go after it: where a bridge is, its rules are.
        """
        kernel.drop_bridge(self.bridge.name, self._table)
        for command in rules.drop(self._table):
            with contextlib.suppress(KernelRefused, MissingProgram):
                self._nft.run(command)

    @property
    def _exists(self) -> bool:
        return kernel.has_link(self.bridge.name)

    def _ensure(self, joined: Membership | None) -> Bridge:
        """Once in each process all is made sure of, as somebody may have flushed it; later a look is enough."""
        bridge = replace(self.bridge, mtu=joined.mtu if joined else self._way_out_mtu())
        if self._checked != bridge or not self._exists:
            kernel.check_free(bridge, self._table)
            self._nft.run(rules.base(self._table, bridge, joined.overlay.network if joined else ""))
            if kernel.ensure_bridge(bridge, self._table, self._paths.lib) and not joined:  # `join` does it, and says so
                cables.fit(bridge, self._paths.netns.iterdir())
            self._checked = bridge
        return bridge

    def _way_out_mtu(self) -> int:
        # Without root, slirp4netns is the way out, whose MTU of 65,520 is none of a network.
        return min(wayout.mtu(), topology.MTU_BYTES) if self._paths.rootless else wayout.mtu()

    def _ensure_tunnel(self, wanted: Overlay, peers: Sequence[Peer]) -> tuple[str, int, list[str]]:
        """Name and MTU of the tunnel end that is wanted, and what was done, in words. One of the other kind goes."""
        underlay_mtu = tunnel.underlay_mtu(wanted.underlay)
        done = self._drop_other(overlay.link_name(self._paths.id, encrypted=not wanted.encrypted))
        if not wanted.encrypted:
            end = overlay.vtep(self._paths.id, wanted, self.bridge.subnet, underlay_mtu)
            return end.name, end.mtu, done + tunnel.ensure_tunnel(end, self._table)
        name, mtu = overlay.link_name(self._paths.id, encrypted=True), underlay_mtu - cryptokey.WIREGUARD_BYTES
        key_file = self._paths.wireguard_key
        settings = cryptokey.settings(wireguard.private_key(key_file), wanted.port, peers)
        return name, mtu, done + wireguard.ensure_tunnel(name, settings, key_file, mtu, self._table)

    def _drop_other(self, name: str) -> list[str]:
        if not kernel.has_link(name):
            return []
        tunnel.drop_tunnel(name)
        return [f"tunnel end {name} taken away"]

    def _publish(self, ports: tuple[PublishedPort, ...], address: str, address6: str) -> None:
        if not ports:
            return
        if not address6 and (faults := rules.unserved(ports)):
            raise InvalidSpec(self.bridge.name, faults)
        families = (rules.FOUR, *((rules.SIX,) if address6 else ()))
        taken.check(self._nft, self._table, ports, families)
        try:
            self._nft.run(rules.publish(self._table, ports, address, address6))
        except KernelRefused as err:
            if any("File exists" in line for line in err.details):
                raise PortTaken(taken.words(ports), "another container") from err
            raise
        for there, net in ((address, self.bridge.subnet), (address6, self.bridge.subnet6)):
            if there and net:
                flows.lead_to(ports, there, net)
        if self._outside:
            try:
                self._outside.forward(ports, address)
            except BaseException:
                self._unpublish(ports, address, address6)
                raise

    def _unpublish(self, ports: tuple[PublishedPort, ...], address: str, address6: str) -> None:
        for command in rules.unpublish(self._table, ports, address, address6):
            with contextlib.suppress(KernelRefused):
                self._nft.run(command)
        for there in filter(None, (address, address6)):
            flows.lead_nowhere(ports, there)

    def _publishes(self, ports: tuple[PublishedPort, ...], address: str, address6: str) -> bool:
        """Whether these ports lead to this container: after a failed publish they may be another one's."""
        if not ports:
            return False
        ends = (("ip", address), ("ip6", address6))
        return any(there and f"{there} . " in self._listed(kind) for kind, there in ends)

    def _listed(self, kind: str) -> str:
        try:
            return self._nft.run(f"list table {kind} {self._table}")
        except KernelRefused:
            return ""
