"""Published ports: what clients connect to, and what stands behind it."""

from __future__ import annotations

import re
from dataclasses import replace

from registrator.model.traffic import STATS_PORT, Port
from registrator.spec.field import Field

EVERYWHERE = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 - words of a file, nothing is bound

_SHORT = re.compile(
    r"(?:(?P<ip>\[[^\]]*\]|[^:]*):)?(?P<published>[^:/]+):(?P<target>[^:/]+)(?:/(?P<protocol>.*))?", re.DOTALL
)
_RANGE = re.compile(r"[0-9]+-[0-9]+")


def ports_of(service: Field) -> tuple[Port, ...]:
    """The ports of a service in the order of the file, each with the hostnames and paths of its x-hecd."""
    extra = service["x-hecd"]
    mode = extra["mode"].text("http")
    hostnames, paths = _hostnames(extra["hostnames"]), _paths(extra["paths"])
    strip = extra["strip_path"].truth()
    found: dict[int, Port] = {}
    for place in service["ports"].items():
        port = _long(place, mode) if isinstance(place.value, dict) else _short(place, mode)
        if port is None:
            continue
        if port.published == STATS_PORT:
            place.fault(f"port {STATS_PORT} is taken on every load balancer, by its statistics: publish another one")
        if port.published in found:
            place.fault(f"port {port.published} is published twice")
        found[port.published] = (
            replace(port, hostnames=hostnames, paths=paths, strip_path=strip) if _http(port) else port
        )
    if strip and extra["paths"].value is None:
        extra["strip_path"].fault("needs paths: there is nothing to strip")
    if service["ports"].value is not None and not any(map(_http, found.values())):
        for key, what in (("hostnames", "a host name"), ("paths", "a path")):
            if extra[key].value is not None:
                extra[key].fault(f"needs a port of mode http: only there is {what} seen")
    return tuple(found.values())


def _http(port: Port) -> bool:
    return port.mode == "http"


def _short(place: Field, mode: str) -> Port | None:
    text = place.text()
    match = _SHORT.fullmatch(text)
    if match is None:
        place.fault(
            f"must be PUBLISHED:TARGET, as {text}:{text}: the load balancer needs a fixed port to listen on"
            if text.isascii() and text.isdigit()
            else f"must be PUBLISHED:TARGET, such as 8080:80; is {text[:60]!r}"
        )
        return None
    if match["protocol"] not in (None, "tcp"):
        place.fault("the load balancer serves tcp only")
    _everywhere(place, match["ip"] or "")
    published, target = _number(place, match["published"]), _number(place, match["target"])
    return Port(published, target, mode) if published and target else None


def _long(place: Field, mode: str) -> Port | None:
    _everywhere(place["host_ip"], place["host_ip"].text())
    published = _number(place["published"], place["published"].text())
    target = _number(place["target"], place["target"].text())
    mode = place["app_protocol"].text(mode)
    return Port(published, target, mode) if published and target else None


def _everywhere(place: Field, address: str) -> None:
    """An address that is not every address would be a promise that nobody keeps."""
    if address not in EVERYWHERE:
        place.fault(f"load balancers listen on every address of their node; the address {address[:60]!r} is not served")


def _number(place: Field, text: str) -> int:
    """The port; 0 after a fault, or where there is none."""
    if place.value is None:
        return 0
    if _RANGE.fullmatch(text):
        place.fault("ranges of ports are not served: name each port")
    elif not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65535):
        place.fault(f"a port is a number from 1 to 65535; is {text[:60]!r}")
    else:
        return int(text)
    return 0


_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOSTNAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


def _hostnames(places: Field) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for place in places.items():
        name = place.text().lower()
        if _HOSTNAME.fullmatch(name) is None or len(name) > 253:
            place.fault(f"must be a host name, such as web.example or *.example; is {place.text()[:60]!r}")
        else:
            found[name] = None
    return tuple(found)


_PATH = re.compile(r"(?:/[A-Za-z0-9._~@:-]+)+/?")


def _paths(places: Field) -> tuple[str, ...]:
    """Prefixes without a slash at their end. None is the same as `/`, so that one is not kept."""
    found: dict[str, None] = {}
    for place in places.items():
        path = place.text()
        if path != "/" and (_PATH.fullmatch(path) is None or len(path) > 255 or {".", ".."} & set(path.split("/"))):
            place.fault(
                f"must be a path such as /api, of letters, digits and . _ ~ @ : - between slashes; is {path[:60]!r}"
            )
        else:
            found[path.rstrip("/")] = None
    return () if "" in found else tuple(found)
