"""How an instance is found healthy, and how the load balancer checks it."""

from __future__ import annotations

import re
from dataclasses import replace

from registrator.model.release import Healthcheck
from registrator.model.service import Check
from registrator.spec.command import words_of
from registrator.spec.field import Field

_PATH = re.compile(r"/[!-~]{0,1023}")

# A command inside the container costs far more than a request: it is asked less often than http and tcp are.
_EXEC = Healthcheck(kind="exec", interval_s=2.0, timeout_s=5.0, start_interval_s=0.25)


def check_of(service: Field) -> Check:
    """The load balancer's own check; a TCP connect where x-hecd.check.path names no path."""
    place, usual = service["x-hecd"]["check"], Check()
    path = place["path"].matching(_PATH, "a path that begins with / and has no spaces", "")
    return Check(
        path=path or None,
        interval_s=place["interval"].duration_s(usual.interval_s, least_s=0.1),
        timeout_s=place["timeout"].duration_s(usual.timeout_s, least_s=0.01),
        rise=place["rise"].whole(usual.rise, least=1, most=100),
        fall=place["fall"].whole(usual.fall, least=1, most=100),
    )


def healthcheck_of(service: Field, check: Check) -> Healthcheck:
    """The agent's probe: the healthcheck's command, else the path of x-hecd.check, else a connect to the first port."""
    place = service["healthcheck"]
    usual = _usual(service, place, check)
    return replace(
        usual,
        interval_s=place["interval"].duration_s(usual.interval_s, least_s=0.05),
        timeout_s=place["timeout"].duration_s(usual.timeout_s, least_s=0.01),
        retries=place["retries"].whole(usual.retries, least=1, most=1000),
        start_period_s=place["start_period"].duration_s(usual.start_period_s),
        start_interval_s=place["start_interval"].duration_s(usual.start_interval_s, least_s=0.01),
    )


def _usual(service: Field, place: Field, check: Check) -> Healthcheck:
    test = _test(place["test"])
    if place["disable"].truth() or test == ():
        return Healthcheck(kind="none")
    if test:
        return replace(_EXEC, test=test)
    if not service["ports"].value:
        return Healthcheck(kind="none")
    if check.path is not None:
        return Healthcheck(kind="http", path=check.path)
    return Healthcheck(kind="tcp")


def _test(place: Field) -> tuple[str, ...] | None:
    """The command; () is NONE, None that there is no test."""
    if place.value is None:
        return None
    if isinstance(place.value, str):
        return _shell(place, place.value)
    kind, *rest = words_of(place) or ("",)
    if kind == "NONE" and not rest:
        return ()
    if kind == "CMD" and rest and rest[0]:
        return tuple(rest)
    if kind == "CMD-SHELL" and len(rest) == 1:
        return _shell(place, rest[0])
    place.fault("must be a text, or begin with CMD (and words), CMD-SHELL (and one text) or NONE")
    return None


def _shell(place: Field, line: str) -> tuple[str, ...] | None:
    if not line.strip():
        place.fault("is an empty command")
        return None
    return ("/bin/sh", "-c", line)
