"""Bridges and namespaces, made in the kernel with netlink and no fork.

pyroute2 takes 0.1 to 0.4 s to import, so it is imported on first use. A netlink socket stays in the network namespace
where it was opened, and belongs to one thread: each call opens its own.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime.errors import KernelRefused, NetlinkRefused, NetworkTaken
from runtime.linux import CLONE_NEWNET, MS_BIND, in_thread, largest_group, mount, setns, unmount, unshare
from runtime.networks.topology import GROUP, LARGEST_GROUP, SYSCTLS, Bridge
from runtime.userns import standing

ABSENT = (2, 19)  # ENOENT, ENODEV
_EXISTS = 17
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
_ALIAS_CHARACTERS = 120  # 255 bytes in UTF-8, where all are of two
NODAD = 0x02  # nobody else can have the address: it is of use at once


def check_free(bridge: Bridge, owner: str) -> None:
    """Nobody but `owner` has this bridge, or an address in its subnets. Raises NetworkTaken, KernelRefused."""
    with netlink(f"look who has {bridge.name}") as ip:
        with contextlib.suppress(OSError):
            by, place = _owner(ip, socket.if_nametoindex(bridge.name))
            if by not in ("", owner):
                raise NetworkTaken(f"the bridge {bridge.name}", f"another root ({place or by})")
        others = _addresses_of_others(ip, bridge.name, owner, ipv6=bool(bridge.subnet6))
    for subnet in filter(None, (bridge.subnet, bridge.subnet6)):
        for address, name in others:
            if address.ip in ipaddress.ip_network(subnet):
                raise NetworkTaken(subnet, f"{name}, which has {address}")


def addresses_of_others(bridge: str, owner: str) -> list[str]:
    """What IPv4 addresses this machine has, but on `bridge` and the tunnel ends of `owner`. Raises KernelRefused."""
    with netlink("look at this machine's addresses") as ip:
        return [str(address.ip) for address, _ in _addresses_of_others(ip, bridge, owner, ipv6=False)]


def _addresses_of_others(ip: Any, bridge: str, owner: str, *, ipv6: bool) -> list[tuple[Interface, str]]:
    """With the names of their links; none that count on their link alone."""
    found = list(_addresses(ip, ipv6=ipv6))
    names = {index: name for index, name in socket.if_nameindex() if name != bridge}
    mine = {index for _, index in found if index in names and _owner(ip, index)[0] == owner}
    return [(address, names[index]) for address, index in found if index in names.keys() - mine]


def _addresses(ip: Any, *, ipv6: bool) -> Iterator[tuple[Interface, int]]:
    for family in (socket.AF_INET, socket.AF_INET6) if ipv6 else (socket.AF_INET,):
        for there in ip.get_addr(family=family):
            own = there.get("local") or there.get("address")  # of a link between two the second is the other end's
            address = ipaddress.ip_interface(f"{own}/{there['prefixlen']}")
            if not address.is_link_local:  # each cable has one
                yield address, there["index"]


def _owner(ip: Any, index: int) -> tuple[str, str]:
    """Whose link it is, and where he is to be found, as its alias has it; "" each where it has none, or is gone."""
    try:
        owner, _, place = str(ip.get_links(index)[0].get("ifalias") or "").partition(" ")
    except Exception as err:
        if getattr(err, "code", None) not in ABSENT:
            raise
        return "", ""
    return owner, place


def ensure_bridge(bridge: Bridge, owner: str, place: Path) -> bool:
    """Make the bridge, or bring what is there to its address and up; whether it had another MTU. Whoever comes first
    owns it, and says where to find him: see `check_free` and `drop_bridge`. Raises KernelRefused."""
    with netlink(f"make the bridge {bridge.name}") as ip:
        # The fixed MAC matters: else the bridge takes a port's, which changes as containers come and go, and neighbours
        # send to the old one for seconds.
        try:
            ip.link("add", ifname=bridge.name, kind="bridge", mtu=bridge.mtu, address=bridge.mac)
        except Exception as err:
            if getattr(err, "code", None) != _EXISTS:  # else another process was faster
                raise
        index = socket.if_nametoindex(bridge.name)
        ip.addr("replace", index=index, address=bridge.address, prefixlen=bridge.prefix)
        link = ip.get_links(index)[0]
        differs = bool(link.get("mtu") != bridge.mtu)
        if differs:
            ip.link("set", index=index, mtu=bridge.mtu)
        hear_no_routers(bridge.name)
        if bridge.address6:
            prepare_ipv6(bridge.name)
        ip.link("set", index=index, group=GROUP, state="up")
        if bridge.address6:
            ip.addr("replace", index=index, address=bridge.address6, prefixlen=bridge.prefix6, flags=NODAD)
            # Deprecated from the first: nobody speaks as this one unless the rules say so.
            ip.addr("replace", index=index, address=bridge.loop6, prefixlen=128, flags=NODAD, preferred=0)
        if not link.get("ifalias"):
            ip.link("set", index=index, ifalias=f"{owner} {place}"[:_ALIAS_CHARACTERS])
    set_value("net/ipv4/ip_forward", "1")
    set_value(f"net/ipv4/conf/{bridge.name}/route_localnet", "1")  # 127.0.0.1:port of the host leads to a container
    if bridge.address6:
        _forward_ipv6()
    return differs


def drop_bridge(name: str, owner: str) -> None:
    """Fine if it is not there. Another root's stays: its containers hang on it."""
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        return
    with netlink(f"delete the bridge {name}") as ip:
        try:
            if _owner(ip, index)[0] in ("", owner):
                ip.link("del", index=index)
        except Exception as err:
            if getattr(err, "code", None) not in ABSENT:
                raise


def ensure_namespace(path: Path, userns: Path | None = None, *, ipv6: bool = True) -> bool:
    """Make a network namespace pinned at `path`, which belongs to the user namespace `userns`; False if one is there.
    Without `ipv6`, interfaces that come into it have none. Raises KernelRefused."""
    if os.path.ismount(path):
        return False
    path.touch()
    if userns is None:
        in_thread(lambda: _make_namespace(path, _sysctls(ipv6=ipv6)))
        return True
    with standing("make a network namespace", "nsenter", f"--user={userns}", "unshare", "--net") as pid:
        mount(f"/proc/{pid}/ns/net", str(path), "", MS_BIND)
    set_values(path, _sysctls(ipv6=ipv6))
    return True


def drop_namespace(path: Path) -> None:
    """Unpin it; the kernel deletes it and its cable soon after its last process has ended. Fine if it is gone.

    Deleting the cable by hand takes 30 ms, in which nobody else can change the network.
    """
    if path.exists():
        unmount(str(path))
        path.unlink(missing_ok=True)


def set_values(namespace: Path, values: Mapping[str, str]) -> None:
    """Write sysctls, named with dots, of a network namespace. Raises KernelRefused."""

    def write() -> None:
        setns(str(namespace))
        _set_all(values)

    in_thread(write)


def _set_all(values: Mapping[str, str]) -> None:
    for name, value in values.items():
        set_value(name.replace(".", "/"), value)


def _sysctls(*, ipv6: bool) -> dict[str, str]:
    """What a new network namespace begins with. Groups that this process's user namespace does not have would be
    refused."""
    largest = str(min(int(LARGEST_GROUP), largest_group()))
    values = {name: value.replace(LARGEST_GROUP, largest) for name, value in SYSCTLS.items()}
    if not ipv6 and Path("/proc/sys/net/ipv6").exists():
        values["net.ipv6.conf.default.disable_ipv6"] = "1"  # of all interfaces that come
    return values


def _make_namespace(path: Path, values: Mapping[str, str]) -> None:
    unshare(CLONE_NEWNET)
    _set_all(values)
    mount("/proc/thread-self/ns/net", str(path), "", MS_BIND)


def hear_no_routers(interface: str) -> None:
    """Any container could say that it is one, and have what others send by IPv6, in networks of IPv4 only, too."""
    _set_ipv6(interface, "accept_ra", "0")


def prepare_ipv6(interface: str) -> None:
    """Before it is up: have IPv6 there, and the link-local address at once, as a bridge needs it to find containers for
    others (else they would wait 2 s)."""
    for name in ("disable_ipv6", "accept_dad"):
        set_value(f"net/ipv6/conf/{interface}/{name}", "0")


def _forward_ipv6() -> None:
    """A host that forwards hears no routers any more, and would lose its own way out: interfaces that heard them go
    on to, by their own setting."""
    settings = Path("/proc/sys/net/ipv6/conf")
    if (settings / "all/forwarding").read_text().strip() == "1":
        return
    for interface in sorted(path.name for path in settings.iterdir() if path.name not in ("all", "default")):
        if (settings / interface / "accept_ra").read_text().strip() == "1":
            set_value(f"net/ipv6/conf/{interface}/accept_ra", "2")
    set_value("net/ipv6/conf/all/forwarding", "1")


@contextlib.contextmanager
def netlink(what: str) -> Iterator[Any]:
    """A netlink socket of this thread's namespace; its errors become ours. Raises NetlinkRefused."""
    from pyroute2.iproute import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as ip:
            yield ip
    except (NetlinkError, OSError) as err:
        raise NetlinkRefused(what, str(err)) from err


def has_link(name: str) -> bool:
    """Whether there is a link of this name, of whatever kind."""
    try:
        return socket.if_nametoindex(name) > 0
    except OSError:
        return False


def leave_without_ipv6(name: str) -> None:
    """An interface that needs no IPv6 address of its own: each that comes up would send to all others to find one.
    Raises KernelRefused."""
    _set_ipv6(name, "disable_ipv6", "1")


def _set_ipv6(interface: str, setting: str, value: str) -> None:
    """Fine if the kernel has no IPv6. Raises KernelRefused."""
    name = f"net/ipv6/conf/{interface}/{setting}"
    if Path("/proc/sys", name).exists():
        set_value(name, value)


def set_value(name: str, value: str) -> None:
    """Write a sysctl of this thread's network namespace, unless it has the value. Raises KernelRefused."""
    path = Path("/proc/sys") / name
    try:
        if path.read_text().split() != value.split():
            path.write_text(value)
    except OSError as err:
        hint = "Run as root."
        if isinstance(err, FileNotFoundError) and name.startswith("net/ipv6"):
            hint = "Has this kernel IPv6, and the interface an MTU of 1280 at least? `--subnet none` goes without."
        raise KernelRefused(f"cannot set {name} to {value}: {err.strerror}", hint=hint) from err
