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
    """All of a WireGuard link; `private` is its own key."""

    private: str
    port: int
    parties: frozenset[Party]


def settings(private: str, port: int, peers: Iterable[Peer]) -> Settings:
    """What leads to these peers."""
    return Settings(private, port, frozenset(Party(p.key, f"{p.underlay}:{port}", p.subnet) for p in peers))


def orders(wanted: Settings, seen: Settings, key_file: str) -> list[str]:
    """What to tell `wg set LINK` to come from `seen` to `wanted`; only what differs, so that peers that stay lose
    nothing."""
    words = []
    if wanted.private != seen.private:
        words += ["private-key", key_file]
    if wanted.port != seen.port:
        words += ["listen-port", str(wanted.port)]
    for party in _gone(wanted, seen):
        words += ["peer", party.key, "remove"]
    for party in _changed(wanted, seen):
        words += ["peer", party.key, "endpoint", party.endpoint, "allowed-ips", party.subnet]
    return words


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
    found += [f"peer {party.subnet} at {party.endpoint}" for party in _changed(wanted, seen)]
    found += [f"peer {party.subnet} taken away" for party in _gone(wanted, seen)]
    return found


def _changed(wanted: Settings, seen: Settings) -> list[Party]:
    return sorted(wanted.parties - seen.parties, key=lambda p: p.subnet)


def _gone(wanted: Settings, seen: Settings) -> list[Party]:
    keys = {party.key for party in wanted.parties}
    return sorted((p for p in seen.parties if p.key not in keys), key=lambda p: p.subnet)
