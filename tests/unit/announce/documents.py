"""Inspections of containers as Docker would give them."""

from __future__ import annotations

from typing import Any

from registrator.announce.container import Container, read


def container(
    name: str = "web.0",
    *,
    ports: dict[str, Any] | None = None,
    env: tuple[str, ...] = (),
    labels: dict[str, str] | None = None,
    mode: str = "default",
    networks: dict[str, str] | None = None,
    exposed: tuple[str, ...] = (),
    image: str = "registry:5000/team/web:1.2",
    **state: Any,
) -> Container:
    """A running one that publishes port 80 at 8080, unless said otherwise."""
    published = {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]} if ports is None else ports
    joined = {"bridge": "172.17.0.5"} if networks is None else networks
    started = "2026-01-01T00:00:00Z"
    return read(
        {
            "Id": (name.encode().hex() + "0" * 64)[:64],
            "Name": f"/{name}",
            "Config": {
                "Image": image,
                "Env": list(env) or None,
                "Labels": labels,
                "ExposedPorts": {port: {} for port in exposed},
            },
            "HostConfig": {"NetworkMode": mode},
            "NetworkSettings": {
                "IPAddress": joined.get("bridge", ""),
                "Ports": published,
                "Networks": {network: {"IPAddress": address} for network, address in joined.items()},
            },
            "State": {"Running": True, "StartedAt": started, **state},
        }
    )
