"""What hecd status says of the certificates on load balancers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registrator.agent.drivers.haproxy import HaproxyBalancer
from registrator.agent.report import _urgent
from registrator.model.certificate import Certificate
from registrator.model.names import NodeName, ReleaseNumber, ServiceName
from registrator.model.node import Edge
from registrator.model.service import Service
from registrator.model.traffic import Port, Tls, Traffic
from registrator.orders.certificates import troubles
from registrator.registry.codec import decode, encode
from registrator.registry.world import World

DAY = 86400.0
NOW = 1000 * DAY
HTTPS = Tls()
GOOD = Certificate("a.pem", ("a.example", "*.wild.example"), NOW + 80 * DAY)


def world(*certificates: Certificate, hostnames: tuple[str, ...] = ("a.example",), tls: Tls | None = HTTPS) -> World:
    web = ServiceName("web")
    ports = (Port(80, 8080, hostnames=("plain.example",)), Port(443, 8080, hostnames=hostnames))
    services = {web: Service(web, ReleaseNumber(1), traffic=Traffic(ports, tls=tls))}
    return World(services=services, edges={NodeName("h4"): Edge(NodeName("h4"), certificates=certificates)})


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        (world(GOOD), []),
        (world(GOOD, hostnames=("x.wild.example", "*.wild.example")), []),
        (world(GOOD, hostnames=()), []),
        (world(tls=None), []),
        (world(hostnames=()), ["web: load balancer on h4 has no certificate: put one into its directory"]),
        (world(GOOD, hostnames=("b.example",)), ["web: load balancer on h4 has no certificate for b.example: put one"]),
        (world(GOOD, hostnames=("x.y.wild.example",)), ["has no certificate for x.y.wild.example"]),
        (world(GOOD, hostnames=("*.example",)), ["has no certificate for *.example"]),
        (world(GOOD, Certificate("b.pem", fault="it is odd")), ["load balancer on h4: certificate b.pem: it is odd"]),
        (world(Certificate("a.pem", fault="it is odd")), ["a.pem: it is odd", "has no certificate for a.example"]),
        (world(Certificate("a.pem", ("a.example",), NOW + 5 * DAY)), ["a.pem expires in 5 days: put a new one"]),
        (world(Certificate("a.pem", ("a.example",), NOW - 1)), ["a.pem has expired: put a new one in its place"]),
    ],
)
def test_what_a_person_is_told(found: World, lines: list[str]) -> None:
    told = list(troubles(found, NOW))
    assert len(told) == len(lines), told
    assert all(part in line for part, line in zip(lines, told, strict=True)), told


def test_an_edge_tells_of_its_certificates_at_once(tmp_path: Path) -> None:
    applied = tmp_path / "haproxy.cfg.applied"
    told = {"file": "a.pem", "names": ["a.example"], "ends_at": 5.0, "fault": "x"}
    applied.write_text(json.dumps({"revision": 3, "certificates": [told]}))
    report = HaproxyBalancer(tmp_path / "none.sock", applied).read()
    assert report.certificates == (Certificate("a.pem", ("a.example",), 5.0, "x"),)
    before, after = Edge(NodeName("h4")), Edge(NodeName("h4"), certificates=report.certificates)
    assert _urgent(before) != _urgent(after), "it is told at once"
    assert decode(Edge, encode(after)) == after
    assert decode(Edge, b'{"node":"h4","applied_revision":1}').certificates == ()
