"""A container as Docker's inspection tells it, cut down to what announcing needs. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from registrator.announce.signals import signal_number

ANYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - what Docker calls a port that is published on every address


@dataclass(frozen=True)
class Binding:
    """Where a port is published on the host. `ip` may be one of ANYWHERE; `port` is text, as Docker has it."""

    ip: str
    port: str


@dataclass(frozen=True)
class Container:
    """One container. `exposed` and `published` speak of ports as `6379/tcp`; a published port may have no binding."""

    id: str
    name: str
    image: str
    environment: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    exposed: tuple[str, ...] = ()
    published: Mapping[str, tuple[Binding, ...]] = field(default_factory=dict)
    network_mode: str = "default"
    address: str = ""  # on the default bridge
    networks: Mapping[str, str] = field(default_factory=dict)  # network -> address
    running: bool = False
    paused: bool = False
    exit_code: int = 0
    started_at: float = 0.0  # seconds since the epoch, by Docker's clock
    health: str = ""  # of its HEALTHCHECK: starting | healthy | unhealthy; "" has none
    stop_signal: int = 15
    document: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)  # all that Docker tells

    @property
    def shared_network_of(self) -> str:
        """The id or name of the container whose network it shares, "" if it has its own."""
        kind, _, other = self.network_mode.partition(":")
        return other if kind == "container" else ""

    @property
    def inside_address(self) -> str:
        """Its own address; on several networks that of the one it was started on, else of the first by name."""
        main = "bridge" if self.network_mode in ("default", "") else self.network_mode
        addresses = [self.address, self.networks.get(main, ""), *(self.networks[n] for n in sorted(self.networks))]
        return next(filter(None, addresses), "")


def read(document: Mapping[str, Any]) -> Container:
    """The container of an inspection. What is missing or null is taken for empty."""
    config, network, state = (document.get(name) or {} for name in ("Config", "NetworkSettings", "State"))
    health = (state.get("Health") or {}).get("Status") or ""
    return Container(
        id=document.get("Id") or "",
        name=(document.get("Name") or "").removeprefix("/"),
        image=config.get("Image") or "",
        environment=tuple(config.get("Env") or ()),
        labels=dict(config.get("Labels") or {}),
        exposed=tuple(sorted(config.get("ExposedPorts") or ())),
        published={port: _bindings(found) for port, found in sorted((network.get("Ports") or {}).items())},
        network_mode=(document.get("HostConfig") or {}).get("NetworkMode") or "",
        address=network.get("IPAddress") or "",
        networks={name: _address(joined or {}) for name, joined in (network.get("Networks") or {}).items()},
        running=bool(state.get("Running")) and not state.get("Restarting"),
        paused=bool(state.get("Paused")),
        exit_code=int(state.get("ExitCode") or 0),
        started_at=_seconds(state.get("StartedAt") or ""),
        health="" if health == "none" else health,
        stop_signal=signal_number(str(config.get("StopSignal") or "")) or 15,
        document=document,
    )


def _bindings(found: Any) -> tuple[Binding, ...]:
    return tuple(Binding(one.get("HostIp") or "", one.get("HostPort") or "") for one in found or ())


def _address(joined: Mapping[str, Any]) -> str:
    return joined.get("IPAddress") or joined.get("GlobalIPv6Address") or ""


def _seconds(moment: str) -> float:
    """Seconds since the epoch of an RFC 3339 moment; 0.0 for none, which Docker writes as the year 1."""
    try:
        parsed = datetime.datetime.fromisoformat(moment)
    except ValueError:
        return 0.0
    return parsed.timestamp() if parsed.year > 1 else 0.0
