"""x-hecd's words about traffic, and the fault of each that is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from registrator.model.service import Service, ServiceSpec
from registrator.model.traffic import Limits, Outliers, Port, Retries, Sticky, Timeouts, Tls, Traffic
from registrator.registry.codec import decode, encode

One = Callable[..., ServiceSpec]
Faults = Callable[..., list[str]]

EVERYTHING = """
ports: ["80:8080", "443:8080"]
x-hecd:
  paths: [/api/, /b]
  strip_path: true
  tls: {redirect: false, hsts: 24h}
  sticky: {cookie: SID, max_idle: 30m, max_life: 12h}
  retries: {attempts: 2, on: [503, response-timeout]}
  timeouts: {connect: 1s, response: 2m, queue: 5s, tunnel: 2h, idle: 20s}
  limits: {connections_per_instance: 50, requests_per_client: 100/10s, max_body: 10m}
  drain_timeout: 30s
  drain_spread: 20s
  slow_start: 10s
  outliers: {errors: 5, for: 20s}
"""


def with_(words: str, ports: str = "80:80") -> str:
    return f"ports: [{ports}]\nx-hecd:\n  {words}"


def test_everything_that_is_served(one: One) -> None:
    paths = ("/api", "/b")
    assert one(EVERYTHING.strip()).traffic == Traffic(
        ports=(Port(80, 8080, paths=paths, strip_path=True), Port(443, 8080, paths=paths, strip_path=True)),
        drain_timeout_s=30.0,
        drain_spread_s=20.0,
        tls=Tls(443, redirect=False, hsts_s=86400.0),
        sticky=Sticky("SID", 1800.0, 43200.0),
        retries=Retries(2, ("503", "response-timeout")),
        timeouts=Timeouts(1.0, 120.0, 5.0, 7200.0, 20.0),
        limits=Limits(50, 100, 10.0, 10 * 1024 * 1024),
        slow_start_s=10.0,
        outliers=Outliers(5, 20.0),
    )


def test_short_forms(one: One) -> None:
    traffic = one(with_("{tls: true, sticky: true, retries: 0, outliers: {}}", "443:80")).traffic
    assert (traffic.tls, traffic.sticky, traffic.retries) == (Tls(), Sticky("hecd-web"), Retries(0))
    assert traffic.outliers == Outliers()
    assert one(with_("{tls: false, sticky: false, paths: /}")).traffic == Traffic(ports=(Port(80, 80),))
    assert one(with_("tls: {port: 8443}", "8443:80")).traffic.tls == Tls(8443)


def test_a_record_from_before_is_read_and_a_new_one_comes_back(one: One) -> None:
    ports = b'[{"published":80,"target":80,"mode":"http","hostnames":[]}]'
    old = b'{"service":"web","release":1,"traffic":{"ports":%s,"balance":"roundrobin"}}' % ports
    assert decode(Service, old).traffic == Traffic(ports=(Port(80, 80),))
    traffic = one(EVERYTHING.strip()).traffic
    assert decode(Traffic, encode(traffic)) == traffic


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        (with_("paths: [api]"), "line 6: x-hecd.paths[0]: must be a path such as /api, of letters"),
        (with_("paths: ['/a b']"), "x-hecd.paths[0]: must be a path such as /api"),
        (with_("paths: ['/a#']"), "x-hecd.paths[0]: must be a path such as /api"),
        (with_("paths: ['/a/../b']"), "x-hecd.paths[0]: must be a path such as /api"),
        (with_("paths: [/a//b]"), "x-hecd.paths[0]: must be a path such as /api"),
        (with_("{paths: [/a], mode: tcp}"), "x-hecd.paths: needs a port of mode http: only there is a path seen"),
        (with_("strip_path: true"), "x-hecd.strip_path: needs paths: there is nothing to strip"),
        (with_("tls: true"), 'x-hecd.tls: no port 443 of mode http is published here: add "443:80" to ports'),
        (with_("{tls: true, mode: tcp}", "443:80"), "x-hecd.tls: no port 443 of mode http is published here"),
        (with_("tls: {port: 80, hsts: 1d}"), "x-hecd.tls.hsts: must be a time with units"),
        (with_("tls: yes please"), "x-hecd.tls: must be true, or a mapping such as {redirect: true, hsts: 24h}"),
        (with_("tls: {files: x}", "443:80"), "x-hecd.tls.files: is not a key of x-hecd here; known: port"),
        (with_("sticky: {cookie: 'a b'}"), "x-hecd.sticky.cookie: must be a name of letters, digits and . _ -"),
        (with_("sticky: {cookie: 'a;b'}"), "x-hecd.sticky.cookie: must be a name of letters"),
        (with_("sticky: {max_idle: 10ms}"), "x-hecd.sticky.max_idle: must be 1 s or longer"),
        (with_("{sticky: true, mode: tcp}"), "x-hecd.sticky: needs mode http on every port: cookies are HTTP's"),
        (with_("retries: 11"), "x-hecd.retries: must be from 0 to 10; is 11"),
        (with_("retries: {on: [all]}"), "x-hecd.retries.on[0]: must be response-timeout, junk-response, 500, 502, 503"),
        (with_("{retries: {on: [503]}, mode: tcp}"), "x-hecd.retries.on: needs mode http on every port"),
        (with_("timeouts: {connect: 0}"), "x-hecd.timeouts.connect: must be 0.01 s or longer"),
        (with_("timeouts: {idle: 11s}"), "x-hecd.timeouts.idle: must not be longer than drain_timeout, which is 10 s"),
        (with_("timeouts: {idle: 10ms}"), "x-hecd.timeouts.idle: must be 1 s or longer"),
        (with_("{timeouts: {idle: 5s}, mode: tcp}"), "x-hecd.timeouts.idle: needs a port of mode http"),
        (with_("timeouts: {keep_alive: 5s}"), "x-hecd.timeouts.keep_alive: is no key of x-hecd: write idle"),
        (
            with_("timeouts: {until: 1s}"),
            "x-hecd.timeouts.until: is not a key of x-hecd here; known: connect, response",
        ),
        (with_("limits: {requests_per_client: 100}"), "x-hecd.limits.requests_per_client: must be a text"),
        (with_("limits: {requests_per_client: 0/10s}"), "limits.requests_per_client: must be requests in a time"),
        (with_("limits: {requests_per_client: 5/1ms}"), "must be requests in a time from 1s to 1h, such as 100/10s"),
        (with_("limits: {requests_per_client: 5/2h}"), "must be requests in a time from 1s to 1h, such as 100/10s"),
        (with_("limits: {requests_per_client: 5/soon}"), "must be requests in a time from 1s to 1h, such as 100/10s"),
        (with_("limits: {max_body: huge}"), "x-hecd.limits.max_body: must be a size, such as 64m or 1g"),
        (with_("{limits: {max_body: 1m}, mode: tcp}"), "x-hecd.limits.max_body: needs mode http on every port"),
        (with_("{slow_start: 5s, balance: first}"), "x-hecd.slow_start: does not go with balance: first"),
        (with_("{slow_start: 2m}"), "x-hecd.slow_start: must be shorter than progress_deadline, which is 120 s"),
        (with_("{drain_spread: 11s}"), "x-hecd.drain_spread: must not be longer than drain_timeout, which is 10 s"),
        (with_("outliers: {errors: 0}"), "x-hecd.outliers.errors: must be from 1 to 10000; is 0"),
        (
            with_("outliers: {within: 10s}"),
            "x-hecd.outliers.within: is no key of x-hecd: load balancers count errors in a row",
        ),
        (with_("{outliers: {}, mode: tcp}"), "x-hecd.outliers: needs mode http on every port"),
    ],
)
def test_what_is_wrong_is_said(faults: Faults, keys: str, fault: str) -> None:
    found = faults(keys)
    assert len(found) == 1, found
    assert fault in found[0]


def test_all_faults_come_at_once(faults: Faults) -> None:
    keys = with_("{paths: [x], tls: true, sticky: {cookie: ' '}, limits: {requests_per_client: x}}")
    assert len(faults(keys)) == 4
