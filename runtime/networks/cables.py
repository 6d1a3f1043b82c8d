"""Cables: a container's namespace connected with the bridge, by an end in the host and an end inside."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from collections.abc import Iterable
from pathlib import Path

from runtime.errors import KernelRefused
from runtime.linux import MS_BIND, in_thread, mount, setns
from runtime.networks import kernel, rtnetlink
from runtime.networks.topology import INTERFACE, Bridge, Link


def plug(link: Link, namespace: Path) -> None:
    """Connect the namespace with the bridge, and bring it up. Raises KernelRefused."""
    fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # The inner end is born inside, under its final name; the outer one as a port of the bridge, and up.
        inner = rtnetlink.End(INTERFACE, link.mac, fd)
        master = socket.if_nametoindex(link.bridge.name)
        made = rtnetlink.cable(link.host_name, inner, link.bridge.mtu, master)
        rtnetlink.ask(f"connect {link.address}", made)
        if link.hairpin:
            with kernel.netlink(f"connect {link.address}") as ip:
                ip.brport("set", index=socket.if_nametoindex(link.host_name), mode=1)
    finally:
        os.close(fd)
    in_thread(lambda: _bring_up(link, namespace))


def is_namespace_of(pid: int, path: Path) -> bool:
    """Whether the namespace pinned at `path` is that of the process."""
    try:
        return os.path.ismount(path) and path.stat().st_ino == Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return False


def plug_foreign(link: Link, pid: int, path: Path) -> None:
    """Connect the namespace that somebody else made for process `pid`, then pin it at `path`: what is pinned is
    connected. Raises KernelRefused."""
    there = Path(f"/proc/{pid}/ns/net")
    if there.stat().st_ino == Path("/proc/self/ns/net").stat().st_ino:
        raise KernelRefused(f"process {pid} has no network namespace of its own")
    in_thread(lambda: _unplug(there))
    plug(link, there)
    path.touch()
    mount(str(there), str(path), "", MS_BIND)


def fit(bridge: Bridge, namespaces: Iterable[Path]) -> int:
    """Bring every cable to the MTU of the bridge; how many were not. Raises KernelRefused."""
    with kernel.netlink(f"fit the cables of {bridge.name}") as ip:
        ports = [(link["index"], link.get("mtu")) for link in ip.get_links(master=socket.if_nametoindex(bridge.name))]
        # An end that got more than it takes would drop it: the end in the host grows first, and shrinks last.
        for index in [index for index, mtu in ports if mtu < bridge.mtu]:
            ip.link("set", index=index, mtu=bridge.mtu)
        wrong = [index for index, mtu in ports if mtu != bridge.mtu]
        for namespace in namespaces if wrong else ():
            with contextlib.suppress(FileNotFoundError):  # the container was removed meanwhile
                in_thread(functools.partial(_fit_inside, bridge.mtu, namespace))
        for index in [index for index, mtu in ports if mtu > bridge.mtu]:
            ip.link("set", index=index, mtu=bridge.mtu)
    return len(wrong)


def _unplug(namespace: Path) -> None:
    setns(str(namespace))
    if kernel.has_link(INTERFACE):  # half made, before a crash
        with kernel.netlink(f"unplug {namespace}") as ip:
            ip.link("del", index=socket.if_nametoindex(INTERFACE))


def _bring_up(link: Link, namespace: Path) -> None:
    setns(str(namespace))
    index, bridge = socket.if_nametoindex(INTERFACE), link.bridge
    kernel.hear_no_routers(INTERFACE)
    if link.address6:
        kernel.prepare_ipv6(INTERFACE)
    else:
        kernel.leave_without_ipv6(INTERFACE)
    wanted = [
        rtnetlink.up(1),
        rtnetlink.address(index, link.address, bridge.prefix),
        rtnetlink.up(index),
        rtnetlink.default_route(index, bridge.address),
    ]
    if link.address6:
        wanted += [
            rtnetlink.address(index, link.address6, bridge.prefix6, flags=kernel.NODAD),
            rtnetlink.default_route(index, bridge.address6),
        ]
    rtnetlink.ask(f"bring {link.address} up", *wanted)


def _fit_inside(mtu: int, namespace: Path) -> None:
    if not os.path.ismount(namespace):
        return
    setns(str(namespace))
    with kernel.netlink(f"set the MTU in {namespace.name}") as ip:
        ip.link("set", index=socket.if_nametoindex(INTERFACE), mtu=mtu)
