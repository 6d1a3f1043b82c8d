"""How the load balancers serve a service: x-hecd, apart from its ports, hostnames and paths."""

from __future__ import annotations

import re
from collections.abc import Sequence

from registrator.model.traffic import Check, Limits, Outliers, Port, Retries, Sticky, Timeouts, Tls, Traffic
from registrator.spec.field import Field
from registrator.spec.quantity import duration_s

_COOKIE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_RATE = re.compile(r"([0-9]{1,9})/(.+)")
_LONGEST_RATE_S = 3600.0


def traffic_of(name: str, extra: Field, ports: Sequence[Port], check: Check) -> Traffic:
    """The traffic of the service `name`; what is wrong in it, or does not go together, stands in the findings."""
    usual = Traffic()
    _refuse_without_http(extra, ports)
    return Traffic(
        ports=tuple(ports),
        balance=extra["balance"].text(usual.balance),
        drain_timeout_s=extra["drain_timeout"].duration_s(usual.drain_timeout_s),
        drain_spread_s=_drain_spread(extra),
        check=check,
        tls=_tls(extra["tls"], ports),
        sticky=_sticky(extra["sticky"], name),
        retries=_retries(extra["retries"]),
        timeouts=_timeouts(extra["timeouts"], extra["drain_timeout"].duration_s(usual.drain_timeout_s)),
        limits=_limits(extra["limits"]),
        slow_start_s=_slow_start(extra),
        outliers=_outliers(extra["outliers"]),
    )


def _refuse_without_http(extra: Field, ports: Sequence[Port]) -> None:
    """What only HTTP has, for a service that has a port without it: half a promise is none."""
    if not any(port.mode == "tcp" for port in ports):
        return
    if extra["balance"].text() == "uri-hash":
        extra["balance"].fault("uri-hash needs mode http")
    for key, why in (("sticky", "cookies are HTTP's"), ("outliers", "only there are answers seen")):
        if extra[key].value not in (None, False):
            extra[key].fault(f"needs mode http on every port: {why}")
    idle = extra["timeouts"]["idle"]
    if idle.value is not None and not any(port.mode == "http" for port in ports):
        idle.fault("needs a port of mode http: a TCP connection may be silent for timeouts.tunnel")
    for place in (extra["retries"]["on"], extra["limits"]["requests_per_client"], extra["limits"]["max_body"]):
        if place.value:
            place.fault("needs mode http on every port: only there are requests seen")


def _tls(place: Field, ports: Sequence[Port]) -> Tls | None:
    if place.value in (None, False):
        return None
    usual = Tls()
    port = place["port"].whole(usual.port, least=1, most=65535)
    if port not in [p.published for p in ports if p.mode == "http"]:
        place.fault(
            f'no port {port} of mode http is published here: add "{port}:{ports[0].target if ports else 8080}" to '
            "ports, or say tls.port"
        )
    return Tls(port, place["redirect"].truth(usual.redirect), place["hsts"].duration_s(usual.hsts_s))


def _sticky(place: Field, name: str) -> Sticky | None:
    """The cookie is named after the service: several may stand behind one host name."""
    if place.value in (None, False):
        return None
    cookie = place["cookie"].matching(_COOKIE, "a name of letters, digits and . _ -", f"hecd-{name}")
    return Sticky(
        cookie, place["max_idle"].duration_s(0.0, least_s=1.0), place["max_life"].duration_s(0.0, least_s=1.0)
    )


def _retries(place: Field) -> Retries:
    usual = Retries()
    attempts = place if isinstance(place.value, int) else place["attempts"]
    on = tuple(dict.fromkeys(word.text() for word in place["on"].items()))
    return Retries(attempts.whole(usual.attempts, most=10), on)


def _timeouts(place: Field, drain_s: float) -> Timeouts:
    usual, idle = Timeouts(), place["idle"]
    if idle.duration_s() > drain_s:
        idle.fault(
            f"must not be longer than drain_timeout, which is {drain_s:g} s: as long as clients stay connected, "
            "a process behind a reload may get requests for an instance that drains"
        )
    return Timeouts(
        connect_s=place["connect"].duration_s(usual.connect_s, least_s=0.01),
        response_s=place["response"].duration_s(usual.response_s, least_s=0.01),
        queue_s=place["queue"].duration_s(usual.queue_s, least_s=0.01),
        tunnel_s=place["tunnel"].duration_s(usual.tunnel_s, least_s=1.0),
        idle_s=idle.duration_s(usual.idle_s, least_s=1.0),
    )


def _limits(place: Field) -> Limits:
    requests, per_s = _rate(place["requests_per_client"])
    body = place["max_body"].size_bytes()
    return Limits(place["connections_per_instance"].whole(), requests, per_s, body)


def _rate(place: Field) -> tuple[int, float]:
    """Requests, and in how many seconds; both 0: no limit."""
    if place.value is None:
        return 0, 0.0
    found = _RATE.fullmatch(place.text())
    try:
        requests, per_s = (int(found[1]), duration_s(found[2])) if found else (0, 0.0)
    except ValueError:
        requests, per_s = 0, 0.0
    if not requests or not 1.0 <= per_s <= _LONGEST_RATE_S:
        place.fault(f"must be requests in a time from 1s to 1h, such as 100/10s; is {place.text()[:60]!r}")
    return requests, per_s


def _drain_spread(extra: Field) -> float:
    place = extra["drain_spread"]
    seconds, whole_s = place.duration_s(), extra["drain_timeout"].duration_s(Traffic().drain_timeout_s)
    if seconds > whole_s:
        place.fault(f"must not be longer than drain_timeout, which is {whole_s:g} s: it is the last part of it")
    return seconds


def _slow_start(extra: Field) -> float:
    place = extra["slow_start"]
    seconds = place.duration_s()
    if seconds and extra["balance"].text() == "first":
        place.fault("does not go with balance: first, which knows no weights")
    deadline_s = extra["progress_deadline"].duration_s(120.0)
    if seconds and seconds >= deadline_s:
        place.fault(f"must be shorter than progress_deadline, which is {deadline_s:g} s: a canary waits for its end")
    return seconds


def _outliers(place: Field) -> Outliers | None:
    if place.value is None:
        return None
    usual = Outliers()
    errors = place["errors"].whole(usual.errors, least=1, most=10_000)
    return Outliers(errors, place["for"].duration_s(usual.for_s, least_s=1.0))
