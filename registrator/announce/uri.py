"""The registry's URI: where it is, and how services are written down there. Pure.

etcd://host:2379/services        as registrator wrote them: /services/<name>/<id> = ip:port
hecd://host:2379                 HECD's records; without a host the etcd that HECD is configured for
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from registrator.errors import HecdError

DEFAULT_PORT = 2379
OTHERS = ("consul", "consul-unix", "consul-tls", "consulkv", "consulkv-unix", "skydns2", "zookeeper")


@dataclass(frozen=True)
class Registry:
    """`scheme` is etcd or hecd; `endpoints` are host:port, () for the configured ones; `path` ends without a slash."""

    scheme: str
    endpoints: tuple[str, ...] = ()
    path: str = ""
    user: tuple[str, str] | None = None


def parse(uri: str) -> Registry:
    """The registry that `uri` names. Raises HecdError."""
    try:
        parts = urlsplit(uri)
    except ValueError as err:
        raise HecdError(f"bad adapter uri: {uri}", details=(str(err),)) from err
    if parts.scheme not in ("etcd", "hecd"):
        why = f"{parts.scheme} is no store of HECD's" if parts.scheme in OTHERS else "no such scheme"
        hint = "etcd://HOST:PORT/PREFIX for registrator's keys, hecd://HOST:PORT for HECD's records."
        raise HecdError(f"unrecognized adapter: {uri}", details=(why,), hint=hint)
    path = "".join(f"/{segment}" for segment in unquote(parts.path).split("/") if segment)
    if parts.scheme == "hecd" and path:
        raise HecdError(f"bad adapter uri: {uri}", hint="hecd:// takes no path: HECD's records have their own keys.")
    if not path.isprintable() or parts.query or parts.fragment:
        raise HecdError(f"bad adapter uri: {uri}", hint="etcd://HOST:PORT/PREFIX is all it takes.")
    user, _, hosts = parts.netloc.rpartition("@")
    return Registry(parts.scheme, _endpoints(uri, parts, hosts), path, _user(user))


def _endpoints(uri: str, parts: SplitResult, hosts: str) -> tuple[str, ...]:
    if not hosts:
        return (f"127.0.0.1:{DEFAULT_PORT}",) if parts.scheme == "etcd" else ()
    return tuple(_endpoint(uri, host) for host in hosts.split(","))


def _endpoint(uri: str, host: str) -> str:
    found = re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:.]+\])(?::(\d{1,5}))?", host)
    if found is None or not 0 < int(found[2] or DEFAULT_PORT) < 65536:
        raise HecdError(f"bad adapter uri: {uri}", details=(f"{host!r} is no HOST:PORT",))
    return f"{found[1]}:{found[2] or DEFAULT_PORT}"


def _user(text: str) -> tuple[str, str] | None:
    name, _, password = text.partition(":")
    return (unquote(name), unquote(password)) if name else None
