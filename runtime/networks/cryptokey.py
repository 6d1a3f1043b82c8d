"""What WireGuard has to be told: whose key may send from which subnet, and where it is found. Worked out, not made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runtime.networks.overlay import Peer

WIREGUARD_BYTES = 60  # 20 IPv4, 8 UDP, 16 WireGuard and a tag of 16 around every packet
_NONE = "(none)"


@dataclass(frozen=True)
class Party:
    """A peer as WireGuard knows it. What comes from elsewhere than `subnet` under this key is thrown away."""

    key: str
    endpoint: str
    subnet: str


@dataclass(frozen=True)
class Settings:
    """All of a WireGuard link; `private` is its own key, in base64."""

    private: str
    port: int
    parties: frozenset[Party]


def settings(private: str, port: int, peers: Iterable[Peer]) -> Settings:
    """What leads to these peers."""
    return Settings(private, port, frozenset(Party(p.key, f"{p.underlay}:{port}", p.subnet) for p in peers))


def text(wanted: Settings) -> str:
    """The same in the words of wg(8)."""
    lines = ["[Interface]", f"PrivateKey = {wanted.private}", f"ListenPort = {wanted.port}"]
    for party in sorted(wanted.parties, key=lambda p: p.key):
        lines += ["[Peer]", f"PublicKey = {party.key}", f"Endpoint = {party.endpoint}", f"AllowedIPs = {party.subnet}"]
    return "\n".join(lines) + "\n"


def read(dump: str) -> Settings:
    """What `wg show LINK dump` tells: a line for the link, and one for each peer."""
    own, *others = [line.split("\t") for line in dump.splitlines()]
    parties = (Party(key, endpoint, allowed) for key, _, endpoint, allowed, *_ in others)
    return Settings("" if own[0] == _NONE else own[0], int(own[2]), frozenset(parties))


def differences(wanted: Settings, seen: Settings) -> list[str]:
    """What has to change, in words that hold no secret."""
    found = []
    if wanted.private != seen.private:
        found.append("key of this host set")
    if wanted.port != seen.port:
        found.append(f"listens at UDP port {wanted.port}")
    gone = {party.key for party in seen.parties} - {party.key for party in wanted.parties}
    found += [f"peer {p.subnet} at {p.endpoint}" for p in sorted(wanted.parties - seen.parties, key=lambda p: p.subnet)]
    found += [f"peer {p.subnet} taken away" for p in sorted(seen.parties, key=lambda p: p.subnet) if p.key in gone]
    return found
