"""Traffic as it is said on a command line: by the rules of a compose file, each fault with the word it is about."""

from __future__ import annotations

from collections.abc import Sequence

from registrator.model.traffic import Traffic
from registrator.spec.document import Document
from registrator.spec.fault import Path
from registrator.spec.field import Field, Findings
from registrator.spec.healthcheck import check_of
from registrator.spec.ports import ports_of
from registrator.spec.traffic import traffic_of


def traffic_of_words(
    name: str,
    ports: Sequence[str],
    *,
    hosts: Sequence[str] = (),
    paths: Sequence[str] = (),
    strip_path: bool = False,
    mode: str = "http",
    check_path: str | None = None,
    tls_port: int = 0,
) -> tuple[Traffic, list[str]]:
    """How the service `name` is to be served, and all that is wrong with it, a line each. A `tls_port` of 0 is none."""
    extra = {
        "hostnames": list(hosts) or None,
        "paths": list(paths) or None,
        "strip_path": strip_path or None,
        "mode": mode,
        "check": {"path": check_path},
        "tls": {"port": tls_port} if tls_port else None,
    }
    findings = Findings(Document())
    place = Field({"ports": list(ports), "x-hecd": extra}, (), findings)
    traffic = traffic_of(name, place["x-hecd"], ports_of(place), check_of(place))
    return traffic, [f"{_word(fault.path, ports)}: {fault.text}" for fault in findings.faults]


def _word(path: Path, ports: Sequence[str]) -> str:
    """What was typed at `path`."""
    match path:
        case ("ports", int(index)):
            return repr(ports[index])
        case ("x-hecd", "hostnames", *_):
            return "--host"
        case ("x-hecd", "paths", *_):
            return "--path"
        case ("x-hecd", "strip_path"):
            return "--strip-path"
        case ("x-hecd", "check", *_):
            return "--check-path"
        case ("x-hecd", "tls", *_):
            return "--tls"
        case _:
            return str(path[-1])
