"""SERVICE_CHECK_*: the probe a service asks for. Pure.

The names are those that registrator handed on to Consul; docs/registrator.md says what becomes of each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from registrator.announce.conventions import Service
from registrator.model.release import Healthcheck

INTERVAL_S = 10.0
TIMEOUT_S = 10.0
FIRST_INTERVAL_S = 0.25  # until the first good answer
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


@dataclass(frozen=True)
class Checked:
    """The probe, None if none is asked for or none can be made; `passing`: taken for healthy until it was asked."""

    check: Healthcheck | None = None
    passing: bool = False
    warnings: tuple[str, ...] = ()


def check_of(service: Service) -> Checked:
    """What `service` asks for. Of several kinds the first counts, in Consul's order."""
    said = service.attributes
    warnings: list[str] = []
    kind = _kind(said, warnings)
    if kind is None:
        return Checked(warnings=tuple(warnings))
    path = said["check_http"] if kind == "http" else "/"
    if kind == "http" and (not path.startswith("/") or not path.isprintable() or " " in path):
        warnings.append(f"SERVICE_CHECK_HTTP={path!r} is no path: only the connection is probed")
        kind, path = "tcp", "/"
    if said.get("check_http_method", "GET").upper() != "GET":
        warnings.append("SERVICE_CHECK_HTTP_METHOD is not heeded: probes are GET")
    check = Healthcheck(
        kind=kind,
        path=path,
        port=service.port,
        interval_s=_duration_s(said, "check_interval", INTERVAL_S, warnings),
        timeout_s=_duration_s(said, "check_timeout", TIMEOUT_S, warnings),
        start_period_s=0.0,
        start_interval_s=FIRST_INTERVAL_S,
    )
    return Checked(check, said.get("check_initial_status") == "passing", tuple(warnings))


def _kind(said: dict[str, str], warnings: list[str]) -> str | None:
    if said.get("check_http"):
        return "http"
    if said.get("check_https"):
        warnings.append("SERVICE_CHECK_HTTPS: only the connection is probed")
        return "tcp"
    for name in ("check_cmd", "check_script"):
        if said.get(name):
            warnings.append(f"SERVICE_{name.upper()} is not run: give the container a HEALTHCHECK instead")
            return None
    if said.get("check_ttl"):
        warnings.append("SERVICE_CHECK_TTL is not heeded: nobody would take its heartbeats")
        return None
    if said.get("check_tcp"):
        return "tcp"
    if said.get("check_grpc"):
        warnings.append("SERVICE_CHECK_GRPC: only the connection is probed")
        return "tcp"
    return None


def _duration_s(said: dict[str, str], name: str, default_s: float, warnings: list[str]) -> float:
    text = said.get(name, "")
    if not text:
        return default_s
    parts = _PART.findall(text)
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or seconds <= 0:
        warnings.append(f"SERVICE_{name.upper()}={text!r} is no duration as 15s is: {default_s:g}s is taken")
        return default_s
    return seconds
