"""The network of a lab: a switch, a cable to each host and one to the user's shell; pulled, cut and made slow.

pyroute2 takes 0.4 s to import, so it is imported on first use. A netlink socket belongs to the namespace and the thread
where it was opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from registrator.errors import HecdError
from registrator.lab.namespace import Namespace
from registrator.lab.plan import Host, Lab

BRIDGE, CARD, SHELL = "sw0", "eth0", "shell"
NOBODY = "02:4c:00:00:de:ad"  # a MAC that no card has: what is sent there is lost without a word
_ABSENT = (2, 19)  # ENOENT, ENODEV
T = TypeVar("T")


def networks() -> list[str]:
    """The networks that this machine's cards are in, and those it has routes to."""

    def found(ip: Any) -> list[str]:
        cards = [f"{a.get('address')}/{a['prefixlen']}" for a in ip.get_addr(family=2)]
        routes = [f"{r.get('dst')}/{r['dst_len']}" for r in ip.get_routes(family=2) if r.get("dst")]
        return cards + routes

    return _here(found)


def lay_switch(lab: Lab) -> None:
    """The switch, and the cable from it to the user's shell."""
    switch = Namespace(lab.switch)
    switch.make()
    _inside(switch, _make_bridge)
    with _opened(lab.switch) as fd:
        peer = {"ifname": SHELL, "net_ns_fd": fd}
        _here(lambda ip: ip.link("add", ifname=lab.link, kind="veth", peer=peer))
    _inside(switch, lambda ip: ip.link("set", index=_index(ip, SHELL), master=_index(ip, BRIDGE), state="up"))
    prefix = int(lab.network.rpartition("/")[2])
    _here(lambda ip: _bring_up(ip, lab.link, lab.outside, prefix))


def lay_cable(lab: Lab, host: Host) -> None:
    """The namespace of a host, with a card in the lab's network."""
    namespace, switch = Namespace(lab.namespace(host)), Namespace(lab.switch)
    namespace.make()
    with _opened(namespace.path) as fd:
        peer = {"ifname": CARD, "net_ns_fd": fd, "address": host.mac}
        _inside(switch, lambda ip: _plug_in(ip, host.name, peer))
    prefix = int(lab.network.rpartition("/")[2])

    def inside(ip: Any) -> None:
        _bring_up(ip, CARD, host.address, prefix)
        ip.route("add", dst="0.0.0.0/0", gateway=lab.outside)

    _inside(namespace, inside)


def take_shell_cable(link: str) -> None:
    """Fine if it is gone."""

    def take(ip: Any) -> None:
        for index in ip.link_lookup(ifname=link):
            ip.link("del", index=index)

    with _unless_absent():
        _here(take)


def set_plugged(lab: Lab, host: Host, *, plugged: bool) -> None:
    """Put the host's cable into the switch, or pull it."""
    state = "up" if plugged else "down"
    _inside(Namespace(lab.switch), lambda ip: ip.link("set", index=_index(ip, host.name), state=state))


def part(lab: Lab, one: Host, other: Host) -> None:
    """From now on whatever these two send to each other is lost."""
    for here, there in ((one, other), (other, one)):
        entry = {"dst": there.address, "lladdr": NOBODY, "state": 0x80}  # permanent
        _inside(
            Namespace(lab.namespace(here)),
            lambda ip, entry=entry: ip.neigh("replace", ifindex=_index(ip, CARD), **entry),  # type: ignore[misc]
        )


def rejoin(lab: Lab, one: Host, other: Host) -> None:
    """Take back what `part` did; fine if nothing was done."""
    for here, there in ((one, other), (other, one)):
        if Namespace(lab.namespace(here)).exists:
            with _unless_absent():
                _inside(
                    Namespace(lab.namespace(here)),
                    lambda ip, there=there: _forget_nobody(ip, there.address),  # type: ignore[misc]
                )


def has_address(lab: Lab, host: Host, address: str) -> bool:
    """Whether the host's card has that address now."""
    if not Namespace(lab.namespace(host)).exists:
        return False
    return _inside(Namespace(lab.namespace(host)), lambda ip: bool(ip.get_addr(family=2, address=address)))


def set_rate(lab: Lab, host: Host, kbit_per_s: int | None) -> None:
    """Let no more than that through to and from the host; None: as much as there is."""
    for namespace, card in ((lab.switch, host.name), (lab.namespace(host), CARD)):
        if Namespace(namespace).exists:
            with _unless_absent():
                _inside(Namespace(namespace), lambda ip, card=card: _shape(ip, card, kbit_per_s))  # type: ignore[misc]


def _make_bridge(ip: Any) -> None:
    ip.link("set", index=1, state="up")
    if not ip.link_lookup(ifname=BRIDGE):
        # Without a MAC of its own it would take that of a port, and change it as hosts come and go.
        ip.link("add", ifname=BRIDGE, kind="bridge", address="02:4c:00:00:00:fe", state="up")


def _plug_in(ip: Any, name: str, peer: dict[str, Any]) -> None:
    for stale in ip.link_lookup(ifname=name):  # a namespace is gone only some time after its last process
        ip.link("del", index=stale)
    ip.link("add", ifname=name, kind="veth", master=_index(ip, BRIDGE), state="up", peer=peer)


def _bring_up(ip: Any, card: str, address: str, prefix: int) -> None:
    if card == CARD:
        ip.link("set", index=1, state="up")
    ip.addr("replace", index=_index(ip, card), address=address, prefixlen=prefix)
    ip.link("set", index=_index(ip, card), state="up")


def _forget_nobody(ip: Any, address: str) -> None:
    for entry in ip.get_neighbours(2, ifindex=_index(ip, CARD)):
        if entry.get("dst") == address and entry.get("lladdr") == NOBODY:
            ip.neigh("del", ifindex=_index(ip, CARD), dst=address)


def _shape(ip: Any, card: str, kbit_per_s: int | None) -> None:
    index = _index(ip, card)
    if kbit_per_s is None:
        ip.tc("del", index=index, root=True)
    else:
        ip.tc("replace", "tbf", index, 0x10000, rate=f"{kbit_per_s}kbit", burst=4096, latency="500ms")


def _index(ip: Any, name: str) -> int:
    found: list[int] = ip.link_lookup(ifname=name)
    if not found:
        raise HecdError(f"the lab has no card {name} here", hint="`hecd lab down` takes away what is left of it.")
    return found[0]


def _here(change: Callable[[Any], T]) -> T:
    from pyroute2.iproute import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as ip:
            return change(ip)
    except NetlinkError as err:
        raise WireFault(err.code, str(err)) from err


def _inside(namespace: Namespace, change: Callable[[Any], T]) -> T:
    return namespace.inside(lambda: _here(change))


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _unless_absent() -> Iterator[None]:
    with suppress(FileNotFoundError):
        try:
            yield
        except WireFault as err:
            if err.code not in (*_ABSENT, 22):  # deleting a qdisc that is not there is an invalid argument
                raise


class WireFault(HecdError):
    """The kernel refused a change of the lab's network. `code` is its errno."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"the lab's network: {text}", hint="Run as root; `hecd lab down` takes away what is there.")
        self.code = code
