"""What nginx serves of x-hecd's traffic, and that it is honest about the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.ports import free_port
from tests.integration.confd_py.apps import apps, ask
from tests.integration.confd_py.nginx import NginxRing
from tests.integration.confd_py.parts import SOON_S, within
from tests.integration.confd_py.test_traffic import check_routes, port, routed


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[NginxRing]:
    made = NginxRing(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.parametrize("hosts", [[], ["h.example"]], ids=["paths alone", "behind a host name"])
def test_paths_lead_where_haproxy_leads_them(ring: NginxRing, hosts: list[str]) -> None:
    names = routed(ring, hosts)
    with apps(ring, *names):
        within(
            SOON_S, "all serve", lambda: [ask(ring.port, path).status for path in ("/", "/api", "/api/v2")] == [200] * 3
        )
        within(SOON_S, "all serve", lambda: ask(ring.port, "/api/v2/x", host="w.example").status == 200)
        check_routes(ring, hosts)


def test_limits_timeouts_and_retries(ring: NginxRing) -> None:
    retries = {"attempts": 2, "on": ["503"]}
    ring.until_applied(ring.service(limits={"body_bytes": 1000}, timeouts={"response_s": 1.0}, retries=retries))
    with apps(ring, "web.1", "web.2") as (slow, bad):
        within(SOON_S, "both serve", lambda: ask(ring.port).status == 200 and bad.hits > 0 and slow.hits > 0)
        bad.status, slow.hits, bad.hits = 503, 0, 0
        statuses = [ask(ring.port, method="POST", body=b"x" * 1000).status for _ in range(6)]
        assert 503 in statuses and slow.hits + bad.hits == 6, "each was sent once"
        assert {ask(ring.port).status for _ in range(10)} == {200}
        assert ask(ring.port, method="POST", body=b"x" * 1001).status == 413
        bad.status, bad.delay_s, slow.delay_s = 200, 2.5, 2.5
        assert ask(ring.port, method="POST", body=b"x").status == 504


def test_what_is_for_tls_only_is_not_served_in_the_clear(ring: NginxRing) -> None:
    secure = free_port()
    ring.until_applied(ring.service(ports=[port(ring), port(ring, secure)], tls={"port": secure, "redirect": True}))
    with apps(ring, "web.1") as (web,):
        within(SOON_S, "told", lambda: ask(ring.port).status == 503 and b"with TLS only" in ask(ring.port).body)
        with pytest.raises(ConnectionRefusedError):
            ask(secure)
        assert web.hits == 0
