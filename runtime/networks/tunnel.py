"""The tunnel end and its entries in the kernel: read, compared, and brought to what they have to be."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable
from typing import Any

from runtime.errors import KernelRefused, NoVxlan
from runtime.networks import rtnetlink
from runtime.networks.kernel import ABSENT, leave_without_ipv6, netlink
from runtime.networks.overlay import (
    LEAST_MTU_BYTES,
    Entry,
    Forward,
    Neighbour,
    Route,
    Step,
    Vtep,
    can_be_changed,
    differences,
    steps,
)
from runtime.networks.topology import MTU_BYTES

PROTOCOL = 87  # marks our routes: `ip route show proto 87`
METRIC = 87  # so that a route of somebody else's to the same subnet is neither replaced nor overruled
_UNSUPPORTED, _EXISTS, _IN_USE = 95, 17, 98
_GONE = (*ABSENT, 3)  # ESRCH: somebody took it away before
_UP, _PERMANENT, _UNICAST, _MAIN, _LOOPBACK = 0x1, 0x80, 1, 254, 0x8


def underlay_mtu(address: str) -> int:
    """The MTU of the interface that has `address`, in bytes. Raises KernelRefused where none has it."""
    with netlink(f"look for {address}") as ip:
        found = ip.get_addr(address=address)
        if not found:
            raise KernelRefused(
                f"{address} is no address of this host, so no tunnel can start there",
                hint="Name an address that the other hosts reach this one at; `ip addr` lists those there are.",
            )
        link = ip.get_links(found[0]["index"])[0]
    mtu = MTU_BYTES if link["flags"] & _LOOPBACK else int(link.get("mtu"))
    if mtu < LEAST_MTU_BYTES:
        raise KernelRefused(f"packets of {mtu} bytes are too small to carry others", hint=f"Raise the MTU: {address}.")
    return mtu


def ensure_tunnel(wanted: Vtep, owner: str) -> list[str]:
    """Make the tunnel end; accept it if it fits, change it where it can be changed, else make it anew.

    What was done, in words. Raises KernelRefused, also where the kernel has no VXLAN or the name is another's.
    """
    with netlink(f"make the tunnel end {wanted.name}") as ip:
        seen = _link(ip, wanted.name)
        if seen is None:
            _make(ip, wanted, owner)
            return [f"tunnel end {wanted.name} made"]
        found = differences(wanted, seen)
        if not found:
            return []
        if can_be_changed(wanted, seen):
            _change(ip, wanted, seen)
            return [f"tunnel end changed: {', '.join(found)}"]
        ip.link("del", index=socket.if_nametoindex(wanted.name))
        _make(ip, wanted, owner)
        return [f"tunnel end made anew: {', '.join(found)}"]


def ensure_entries(name: str, wanted: Iterable[Entry]) -> list[str]:
    """Bring routes, neighbours and FDB of the tunnel end to what is wanted. What was done, in words.

    A step that fails keeps no other from being done. Raises KernelRefused afterwards, with all that failed.
    """
    with netlink(what := f"reach peers through {name}") as ip:
        index = socket.if_nametoindex(name)
        todo = steps(wanted, _entries(ip, index))
    done, failed = [], []
    for step, code in zip(todo, rtnetlink.each(what, [_request(index, step) for step in todo]), strict=True):
        if code and not (step.drop and code in _GONE):
            failed.append(f"{step}: {os.strerror(code)}")
        else:
            done.append(str(step))
    if failed:
        hint = "`ip route`, `ip neigh` and `bridge fdb` show what is in the way."
        raise KernelRefused(f"{len(failed)} entries of {name} not made", details=tuple(failed[:4]), hint=hint)
    return done


def drop_tunnel(name: str) -> None:
    """Its entries go with it. Fine if it is not there."""
    with netlink(f"delete the tunnel end {name}") as ip, contextlib.suppress(OSError):
        index = socket.if_nametoindex(name)
        try:
            ip.link("del", index=index)
        except Exception as err:
            if getattr(err, "code", None) not in ABSENT:
                raise


def _make(ip: Any, wanted: Vtep, owner: str) -> None:
    try:
        ip.link(
            "add",
            ifname=wanted.name,
            kind="vxlan",
            vxlan_id=wanted.vni,
            vxlan_port=wanted.port,
            vxlan_local=wanted.underlay,
            vxlan_learning=wanted.learning,
            address=wanted.mac,
            mtu=wanted.mtu,
        )
        leave_without_ipv6(wanted.name)
        ip.link("set", index=socket.if_nametoindex(wanted.name), ifalias=owner, state="up")
    except Exception as err:
        if (explained := _explained(err, wanted)) is not None:
            raise explained from err
        raise


def _change(ip: Any, wanted: Vtep, seen: Vtep) -> None:
    index = socket.if_nametoindex(wanted.name)
    ip.link("set", index=index, kind="vxlan", vxlan_local=wanted.underlay, vxlan_learning=wanted.learning)
    if seen.mac != wanted.mac:  # also the same MAC, set again, makes the kernel forget all neighbours
        ip.link("set", index=index, address=wanted.mac)
    ip.link("set", index=index, mtu=wanted.mtu, state="up")


def _explained(err: Exception, wanted: Vtep) -> KernelRefused | None:
    code = getattr(err, "code", None)
    if code == _UNSUPPORTED:
        return NoVxlan()
    if code in (_EXISTS, _IN_USE):
        return KernelRefused(
            f"VNI {wanted.vni} at UDP port {wanted.port} is another program's, or another root's, on this host",
            hint="`ip -d link show type vxlan` shows whose. Choose another VNI or port, on all hosts.",
        )
    return None


def _link(ip: Any, name: str) -> Vtep | None:
    """The link of this name; None if there is none. Raises KernelRefused where it is no tunnel end."""
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        return None
    link = ip.get_links(index)[0]
    info = link.get("linkinfo")
    if info is None or info.get("kind") != "vxlan":
        raise KernelRefused(f"the link {name} is no tunnel end", hint=f"Whose is it? Delete it: ip link del {name}")
    data = info.get("data")
    return Vtep(
        name,
        data.get("vxlan_id"),
        data.get("vxlan_port"),
        data.get("vxlan_local") or "",
        link.get("address"),
        link.get("mtu"),
        learning=bool(data.get("vxlan_learning")),
        up=bool(link["flags"] & _UP),
    )


def _entries(ip: Any, index: int) -> list[Entry]:
    """All that leads into the tunnel now, also what others put there."""
    found: list[Entry] = [Forward(e.get("lladdr"), e.get("dst")) for e in ip.fdb("dump", ifindex=index) if e.get("dst")]
    for e in ip.get_neighbours(socket.AF_INET, ifindex=index):
        if e["state"] & _PERMANENT:
            found.append(Neighbour(e.get("dst"), e.get("lladdr") or ""))
    for e in ip.get_routes(family=socket.AF_INET, oif=index, table=_MAIN):
        if e["type"] == _UNICAST and e.get("dst") and e.get("priority") == METRIC:
            subnet = f"{e.get('dst')}/{e['dst_len']}"
            found.append(Route(subnet, e.get("gateway") or "", e.get("prefsrc") or ""))
    return found


def _request(index: int, step: Step) -> Any:
    match step.entry:
        case Forward(mac, underlay):
            return rtnetlink.forward(index, mac, underlay, drop=step.drop)
        case Neighbour(address, mac):
            return rtnetlink.neighbour(index, address, mac, drop=step.drop)
        case Route(subnet, via, source):
            return rtnetlink.route(index, subnet, via, source, metric=METRIC, origin=PROTOCOL, drop=step.drop)
