"""Whether a port of this host may be published: who has it already would lose connections to it, unseen."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

from runtime.errors import KernelRefused, PortTaken
from runtime.model import PublishedPort
from runtime.networks import rules
from runtime.networks.nft import Nft
from runtime.networks.rules import Family

_AT = re.compile(r"(\S+) \. (\d+) : ")  # elements of a map of ports of one address


def check(nft: Nft, table: str, ports: tuple[PublishedPort, ...], families: tuple[Family, ...]) -> None:
    """Raises PortTaken where a program of this host or a container, of whichever root, has one of these ports. A
    container of the root with `table` that has just the same one is found when it is published."""
    for family in families:
        asked = [port for port in ports if rules.serves(family, port)]
        for port in asked:
            _check_programs(port, family)
        for other in _tables(nft, family) if asked else ():
            for port in asked:
                if _leads(nft, family, other, port, same=other != table):
                    # Its root may be gone: the table is what is left to look at, and to delete.
                    elsewhere = f"a container of another root (nftables' table {family.name} {other})"
                    who = "another container" if other == table else elsewhere
                    raise PortTaken(words((port,)), who)


def words(ports: tuple[PublishedPort, ...]) -> str:
    """The ports as a person writes them."""
    return ", ".join(f"{p.published}/{p.protocol}" for p in ports)


def _check_programs(port: PublishedPort, family: Family) -> None:
    six = family is rules.SIX
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))
        if six:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((port.address or ("::" if six else "0.0.0.0"), port.published))  # noqa: S104 - it only looks
        except OSError as err:
            raise PortTaken(words((port,)), "a program of this host") from err


def _tables(nft: Nft, family: Family) -> Iterator[str]:
    """Those of all roots."""
    for line in _said(nft, f"list tables {family.name}").splitlines():
        name = line.split()[-1]
        if name.startswith(rules.TABLES):
            yield name


def _leads(nft: Nft, family: Family, table: str, port: PublishedPort, *, same: bool) -> bool:
    """Whether a port that overlaps with this one leads somewhere in this table; with `same`, also just this one."""
    everywhere = f"get element {family.name} {table} any_{port.protocol} {{ {port.published} }}"
    if port.address:
        here = f"get element {family.name} {table} at_{port.protocol} {{ {rules.key(port)} }}"
        return bool(_said(nft, everywhere) or (same and _said(nft, here)))
    if same and _said(nft, everywhere):
        return True
    single = _AT.findall(_said(nft, f"list map {family.name} {table} at_{port.protocol}"))
    return any(int(published) == port.published for _, published in single)


def _said(nft: Nft, command: str) -> str:
    """ "" where there is no such thing."""
    try:
        return nft.run(command)
    except KernelRefused:
        return ""
