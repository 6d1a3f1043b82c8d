"""Where HAProxy hands over requests that are to wait, and takes them back: read in its own configuration. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from registrator.model.hold import HOLD_SERVER

_LINE = re.compile(
    rf"^backend (?P<backend>\S+)|^\s+(?P<tcp>mode tcp)\s*$|^\s+server {HOLD_SERVER} unix@(?P<path>\S+)", re.MULTILINE
)


@dataclass(frozen=True)
class Place:
    """One backend: the socket at which its requests arrive, and the one that hands them to the backend again."""

    backend: str
    arrivals: str
    onward: str
    http: bool  # a client that left needs no answer any more


def places_of(configuration: str) -> dict[str, Place]:
    """The places by backend. Arrivals stand at RUN/hold/ID.sock, and what goes on at RUN/onward-ID.sock."""
    found: dict[str, Place] = {}
    backend, http = "", True
    for line in _LINE.finditer(configuration):
        if line["backend"]:
            backend, http = line["backend"], True
        elif line["tcp"]:
            http = False
        else:
            found[backend] = Place(backend, line["path"], line["path"].replace("/hold/", "/onward-"), http)
    return found


def question(backends: list[str]) -> str:
    """What HAProxy is asked about the weights of these backends' holding servers."""
    return ";".join(f"get weight {backend}/{HOLD_SERVER}" for backend in backends)


def released(answer: str, backends: list[str]) -> list[str]:
    """The backends that no longer hold, as the answer says. What is not understood holds on."""
    weights = re.findall(r"^(?:(\d+) \(initial \d+\)|\S.*)$", answer, re.MULTILINE)
    if len(weights) != len(backends):
        return []
    return [backend for backend, weight in zip(backends, weights, strict=True) if weight == "0"]
