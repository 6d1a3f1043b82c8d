"""What x-hecd says of traffic, on a HAProxy that confd-py configures from etcd."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.confd_py.apps import Answer, Holder, apps, ask, in_http2
from tests.integration.confd_py.conftest import Ring
from tests.integration.confd_py.parts import SOON_S, within


def port(ring: Ring, published: int = 0, **changes: object) -> dict[str, object]:
    return {"published": published or ring.port, "target": 80, "mode": "http", "hostnames": [], **changes}


def serving(ring: Ring, *names: str) -> None:
    """Wait until all these instances get requests."""
    for name in names:
        _serves(ring, name)


def _serves(ring: Ring, name: str) -> None:
    backend = f"{name.rpartition('.')[0]}.80"
    within(SOON_S, f"{name} serves", lambda: name in ring.haproxy.serving(backend))


ROUTES = (
    ("/api", "api.1", "/"),
    ("/api?q=/api/v2", "api.1", "/?q=/api/v2"),
    ("/api/x%20y?q=1", "api.1", "/x%20y?q=1"),
    ("/api/b/api/c", "api.1", "/b/api/c"),
    ("/b/x", "api.1", "/x"),
    ("/api/v2", "deep.1", "/api/v2"),
    ("/api/v2/y?q", "deep.1", "/api/v2/y?q"),
    ("/api/v20", "api.1", "/v20"),
    ("/apix", "web.1", "/apix"),
    ("/API", "web.1", "/API"),
    ("/", "web.1", "/"),
)


def routed(ring: Ring, hosts: Sequence[str]) -> Sequence[str]:
    """Four services on one port, three of them behind `hosts`; their instances."""
    ring.service("api", ports=[port(ring, hostnames=hosts, paths=["/api", "/b"], strip_path=True)])
    ring.service("deep", ports=[port(ring, hostnames=hosts, paths=["/api/v2"])])
    ring.service("web", ports=[port(ring, hostnames=hosts)])
    last = ring.service("other", ports=[port(ring, hostnames=["*.example"], paths=["/api/v2/x"])])
    ring.until_applied(last)
    return ("api.1", "deep.1", "web.1", "other.1")


def check_routes(ring: Ring, hosts: Sequence[str]) -> None:
    """Each path leads where it should, whatever load balancer it is."""
    for path, service, seen in ROUTES:
        answer = ask(ring.port, path)
        assert (answer.by, answer.seen["path"]) == (service, seen), path
    # The host name decides first: what nobody has there falls to the next one.
    assert ask(ring.port, "/api/v2/x/y").by == ("deep.1" if hosts else "other.1")
    assert ask(ring.port, "/api/v2/x", host="w.example:80").by == "other.1"
    assert ask(ring.port, "/", host="w.example").status == (404 if hosts else 200)


@pytest.mark.parametrize("hosts", [[], ["h.example"]], ids=["paths alone", "behind a host name"])
def test_the_longest_path_wins_and_is_stripped_once(ring: Ring, hosts: list[str]) -> None:
    names = routed(ring, hosts)
    with apps(ring, *names):
        serving(ring, *names)
        check_routes(ring, hosts)
        # What waited while its service was held comes back by this way, and is not stripped again.
        onward = f"{ring.haproxy.run}/onward-{hashlib.sha256(b'api.80').hexdigest()[:12]}.sock"
        assert ask(ring.port, "/api/x", socket_path=onward).seen["path"] == "/api/x"


STICKY = {"cookie": "SID", "max_idle_s": 0.0, "max_life_s": 0.0}


def cookie_of(answer: Answer) -> str:
    return answer.headers["set-cookie"].partition(";")[0] if "set-cookie" in answer.headers else ""


def clients(ring: Ring, wanted: int, tries: int = 200) -> dict[str, str]:
    """Instance -> cookie, of as many instances as are wanted."""
    found: dict[str, str] = {}
    for _ in range(tries):
        answer = ask(ring.port)
        assert cookie_of(answer), "an answer without a cookie to a client that had none"
        found[answer.by] = cookie_of(answer)
        if len(found) == wanted:
            return found
    raise AssertionError(f"only {sorted(found)} of {wanted} answered")


def test_clients_stay_with_their_instance_until_it_drains(ring: Ring) -> None:
    """Also with instances that were added while HAProxy ran; what is under way on one that drains is finished."""
    ring.until_applied(ring.service(sticky=STICKY))
    reloads = ring.confd.state()["reloads"]
    with apps(ring, "web.1", "web.2") as (first, _):
        serving(ring, "web.1", "web.2")
        with apps(ring, "web.3") as (third,):
            serving(ring, "web.3")
            mine = clients(ring, 3)
            assert len(set(mine.values())) == 3
            for _ in range(20):
                for name, cookie in mine.items():
                    answer = ask(ring.port, headers={"Cookie": f"a=b; {cookie}"})
                    assert (answer.by, cookie_of(answer), answer.received["cookie"]) == (name, "", "a=b")
            assert "HttpOnly" in ask(ring.port).headers["set-cookie"]
            third.delay_s = 1.5
            slow: list[Answer] = []
            waiting = threading.Thread(target=lambda: slow.append(ask(ring.port, headers={"Cookie": mine["web.3"]})))
            waiting.start()
            within(SOON_S, "under way", lambda: third.at_once == 1)
            hits = third.hits
            ring.until_applied(ring.instance(3, state="draining", address=third.address))
            for _ in range(30):
                answer = ask(ring.port, headers={"Cookie": mine["web.3"]})
                assert answer.by in ("web.1", "web.2") and cookie_of(answer) == mine[answer.by]
            waiting.join(SOON_S)
            assert [answer.by for answer in slow] == ["web.3"]
            assert third.hits == hits
            ring.until_applied(ring.withdraw(3))
        assert ask(ring.port, headers={"Cookie": mine["web.1"]}).by == "web.1"
        # One that comes back at its old address has its old cookie.
        ring.until_applied(ring.withdraw(1))
        assert ask(ring.port, headers={"Cookie": mine["web.1"]}).by == "web.2"
        ring.instance(1, address=first.address)
        serving(ring, "web.1")
        assert ask(ring.port, headers={"Cookie": mine["web.1"]}).by == "web.1"
    assert ring.confd.state()["reloads"] == reloads


def test_a_release_without_requests_gets_none_of_its_clients_either(ring: Ring) -> None:
    ring.until_applied(ring.service(sticky=STICKY))
    with apps(ring, "web.1", "web.2"):
        serving(ring, "web.1", "web.2")
        mine = clients(ring, 2)
        key, record = ring.instance_record(2)
        assert isinstance(record, dict)
        ring.put(key, {**record, "release": 2})
        weights = {"service": "web", "release": 2, "weights": {"2": 0}}
        ring.until_applied(ring.put("/hecd/rollouts/web", weights))
        assert {ask(ring.port, headers={"Cookie": mine["web.2"]}).by for _ in range(20)} == {"web.1"}


def test_a_hold_holds_clients_with_a_cookie_too_and_they_find_their_instance_again(ring: Ring) -> None:
    ring.until_applied(ring.service(sticky=STICKY))
    reloads = ring.confd.state()["reloads"]
    with apps(ring, "web.1", "web.2") as (_, second), Holder(ring) as holder:
        serving(ring, "web.1", "web.2")
        mine = clients(ring, 2)
        hits = second.hits
        hold(ring)
        answers: list[Answer] = []
        asks = [
            threading.Thread(target=lambda: answers.append(ask(ring.port, headers={"Cookie": mine["web.2"]})))
            for _ in range(5)
        ]
        for thread in asks:
            thread.start()
        within(SOON_S, "they wait", lambda: holder.waiting == 5)
        assert second.hits == hits
        ring.until_applied(ring.delete("/hecd/holds/web/operator"))
        holder.open()
        for thread in asks:
            thread.join(SOON_S)
        assert [answer.by for answer in answers] == ["web.2"] * 5
        assert {cookie_of(answer) for answer in answers} == {""}
    assert ring.confd.state()["reloads"] == reloads


def test_a_client_that_asks_too_often_is_told_so(ring: Ring) -> None:
    ring.service(limits={"requests": 5, "per_s": 5.0})
    ring.until_applied(ring.service("other", ports=[port(ring, paths=["/other"])]))
    with apps(ring, "web.1", "other.1") as (web, _):
        serving(ring, "web.1", "other.1")
        assert [ask(ring.port).status for _ in range(8)] == [200] * 5 + [429] * 3
        assert ask(ring.port).headers["retry-after"] == "5"
        assert web.hits == 5
        assert ask(ring.port, "/other").status == 200

        def let_in() -> bool:
            time.sleep(1.5)
            return ask(ring.port).status == 200

        within(15, "let in again", let_in)


def test_a_body_that_is_too_large_or_of_no_length_is_refused(ring: Ring) -> None:
    ring.until_applied(ring.service(limits={"body_bytes": 1000}))
    with apps(ring, "web.1") as (web,):
        serving(ring, "web.1")
        assert ask(ring.port, method="POST", body=b"x" * 1000).status == 200
        assert ask(ring.port, method="POST", body=b"x" * 1001).status == 413
        assert ask(ring.port, method="POST", body=b"x" * 10, chunked=True).status == 411
        assert in_http2(ring.port, "POST", b"x" * 10) == 411
        assert web.hits == 1
        began = time.monotonic()
        upgrade = {"Upgrade": "websocket", "Connection": "upgrade", "Sec-WebSocket-Key": "MTIzNDU2Nzg5MDEyMzQ1Ng=="}
        assert ask(ring.port, headers=upgrade).status == 200
        assert [ask(ring.port, method=method).status for method in ("GET", "POST", "HEAD")] == [200] * 3
        assert [in_http2(ring.port, "GET"), in_http2(ring.port, "POST")] == [200, 200]
        assert time.monotonic() - began < 4.5, "nobody waited for a body that does not come"


def test_requests_beyond_an_instances_connections_queue(ring: Ring) -> None:
    ring.until_applied(ring.service(limits={"connections": 2}, timeouts={"queue_s": 10.0}))
    with apps(ring, "web.1", "web.2") as both:
        serving(ring, "web.1", "web.2")
        for app in both:
            app.delay_s = 0.1
        assert at_once(16, lambda: ask(ring.port).status) == [200] * 16
        assert max(app.most_at_once for app in both) == 2
        ring.until_applied(ring.service(limits={"connections": 1}, timeouts={"queue_s": 0.3}))
        for app in both:
            app.delay_s = 2.0
        assert sorted(at_once(6, lambda: ask(ring.port).status)) == [200] * 2 + [503] * 4


def test_timeouts(ring: Ring) -> None:
    ring.until_applied(ring.service(timeouts={"response_s": 1.0, "idle_s": 1.0}))
    with apps(ring, "web.1") as (web,), Holder(ring) as holder:
        serving(ring, "web.1")
        assert 0.8 <= kept_for_s(ring) <= 5.0, "not the usual 10 s"
        web.delay_s = 2.5
        assert ask(ring.port, method="POST", body=b"x").status == 504
        web.delay_s = 0.0
        hold(ring)
        answers: list[Answer] = []
        waiting = threading.Thread(target=lambda: answers.append(ask(ring.port)))
        waiting.start()
        within(SOON_S, "it waits", lambda: holder.waiting == 1)
        waiting.join(1.5)  # longer than an instance may take: who waits in a hold waits for none
        ring.until_applied(ring.delete("/hecd/holds/web/operator"))
        holder.open()
        waiting.join(SOON_S)
        assert [answer.status for answer in answers] == [200]


def kept_for_s(ring: Ring) -> float:
    """How long a connection lives after its last answer."""
    with socket.create_connection(("127.0.0.1", ring.port), 15.0) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        while client.recv(4096):
            begun = time.monotonic()
        return time.monotonic() - begun


def test_only_reads_are_asked_again_elsewhere(ring: Ring) -> None:
    ring.until_applied(ring.service(retries={"attempts": 2, "on": ["503"]}))
    with apps(ring, "web.1", "web.2") as (good, bad):
        serving(ring, "web.1", "web.2")
        bad.status = 503
        assert {ask(ring.port).status for _ in range(20)} == {200}
        assert good.hits == 20 and bad.hits > 0
        good.hits = bad.hits = 0
        statuses = Counter(ask(ring.port, method="POST", body=b"x").status for _ in range(20))
        assert statuses == {200: good.hits, 503: bad.hits}, "each was sent once"
        assert bad.hits > 0


def at_once(count: int, what: Callable[[], int]) -> list[int]:
    """What so many callers get that begin together."""
    with ThreadPoolExecutor(count) as pool:
        return [future.result(SOON_S) for future in [pool.submit(what) for _ in range(count)]]


def hold(ring: Ring) -> None:
    """Have all requests of web wait."""
    up = re.compile(r"^web\.80,hecd-hold,.*,UP,", re.MULTILINE)
    within(SOON_S, "the holder is seen", lambda: up.search(ring.haproxy.ask("show stat")))
    ring.put("/hecd/holds/web/operator", {"service": "web", "owner": "operator", "kind": "wait", "since": 1.0})
    within(SOON_S, "held", lambda: ring.haproxy.serving() == set())


def asked(ring: Ring, count: int) -> Counter[int]:
    return Counter(ask(ring.port).status for _ in range(count))


def test_an_instance_that_fails_again_and_again_is_out_for_a_while(idle_ring: Ring) -> None:
    """Also when confd-py looks after servers that are down meanwhile."""
    ring = idle_ring
    ring.confd.check_every("500ms")
    ring.start()
    ring.until_applied(ring.service(outliers={"errors": 3, "for_s": 3.0}))
    reloads = ring.confd.state()["reloads"]
    with apps(ring, "web.1", "web.2") as (good, bad):  # added while HAProxy runs
        serving(ring, "web.1", "web.2")
        assert asked(ring, 10) == {200: 10}
        bad.status = 500
        failures = asked(ring, 40)
        out_at = time.monotonic()
        assert failures[500] == 3, "as many as make an outlier, and not one more"
        bad.status = 200
        bad.hits = 0
        within(10, "it is back", lambda: ask(ring.port).by == "web.2")
        assert 2.5 < time.monotonic() - out_at < 8.0
        assert good.hits > 40
    assert ring.confd.state()["reloads"] == reloads


def test_instances_are_asked_nevertheless_when_all_are_out(ring: Ring) -> None:
    ring.until_applied(ring.service(outliers={"errors": 3, "for_s": 60.0}))
    with apps(ring, "web.1", "web.2") as both:
        serving(ring, "web.1", "web.2")
        for app in both:
            app.status = 500
        assert asked(ring, 30) == {500: 30}, "their own words, not 503"
        assert ring.haproxy.serving() == set()
        assert sum(app.hits for app in both) == 30
        for app in both:
            app.status = 200
        answers = [ask(ring.port) for _ in range(10)]
        assert {answer.status for answer in answers} == {200}
        assert {answer.headers["x-hecd-instance"] for answer in answers} == {"web.1", "web.2"}
        ring.until_applied(ring.instance(2, state="draining", address=both[1].address))
        assert {ask(ring.port).by for _ in range(10)} == {"web.1"}
        # A hold that nobody holds is no reason to ask them.
        ring.until_applied(
            ring.put("/hecd/holds/web/operator", {"service": "web", "owner": "operator", "kind": "wait", "since": 1.0})
        )
        hits = both[0].hits
        assert ask(ring.port).status == 503
        assert both[0].hits == hits


def test_a_new_instance_gets_its_share_slowly(ring: Ring) -> None:
    ring.until_applied(ring.service(slow_start_s=6.0))
    reloads = ring.confd.state()["reloads"]
    with apps(ring, "web.1") as (first,):
        within(SOON_S, "warm", lambda: throttle(ring, "web.1") == "" and "web.1" in ring.haproxy.serving())
        with apps(ring, "web.2") as (second,):
            within(SOON_S, "it begins", lambda: throttle(ring, "web.2"))
            assert int(throttle(ring, "web.2")) < 60
            asked(ring, 30)
            assert second.hits < first.hits / 2
            within(SOON_S, "warm", lambda: throttle(ring, "web.2") == "")
            first.hits = second.hits = 0
            asked(ring, 30)
            assert (first.hits, second.hits) == (15, 15)
            # Weights go on to be what they are told.
            key, record = ring.instance_record(2, weight=50)
            ring.until_applied(ring.put(key, record))
            first.hits = second.hits = 0
            asked(ring, 30)
            assert (first.hits, second.hits) == (20, 10)
    assert ring.confd.state()["reloads"] == reloads


def throttle(ring: Ring, server: str) -> str:
    """How much of its weight HAProxy gives it, in percent; "": all."""
    head, *rows = [line.split(",") for line in ring.haproxy.ask("show stat").splitlines() if line]
    return next((row[head.index("throttle")] for row in rows if row[:2] == ["web.80", server]), "")
