"""What a host root knows of its overlay, on disk: any process that connects a container goes by it, and after a reboot
the peers are reached again before anybody could be asked."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass

from runtime.networks.overlay import Overlay, Peer
from runtime.paths import HostPaths
from runtime.state import write_whole


@dataclass(frozen=True)
class Membership:
    """`mtu` in bytes is what fits through the tunnel."""

    overlay: Overlay
    mtu: int
    peers: tuple[Peer, ...] = ()


def read(paths: HostPaths) -> Membership | None:
    """None where this root takes part in no overlay."""
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError, KeyError):
        found = json.loads(paths.overlay_file.read_bytes())
        return Membership(Overlay(**found["overlay"]), found["mtu"], tuple(Peer(**p) for p in found["peers"]))
    return None


def write(paths: HostPaths, membership: Membership) -> None:
    if membership != read(paths):
        write_whole(paths.overlay_file, json.dumps(asdict(membership)).encode())


def forget(paths: HostPaths) -> None:
    paths.overlay_file.unlink(missing_ok=True)
