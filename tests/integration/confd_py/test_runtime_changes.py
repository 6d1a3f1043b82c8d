"""Servers come, drain and go without a reload and without a failed request."""

from __future__ import annotations

import time

from tests.integration.confd_py.conftest import Ring
from tests.integration.confd_py.parts import SOON_S, load, within


def test_instances_come_drain_and_go_under_load(ring: Ring) -> None:
    ring.service()
    ring.instance(1)
    revision = ring.instance(2)
    ring.until_applied(revision)
    ring.until_serving(1, 2)
    reloads = ring.confd.state()["reloads"]
    with load(ring.port) as running:
        for number in range(3, 11):
            ring.instance(number)
            ring.until_serving(number - 2, number - 1, number)
            ring.instance(number - 2, state="draining")
            ring.until_serving(number - 1, number)
            time.sleep(0.05)
            ring.until_applied(ring.withdraw(number - 2))
    assert running.failures == []
    assert running.sent > 200
    assert len(running.served) >= 8
    assert ring.confd.state()["reloads"] == reloads
    within(SOON_S, "removed servers are gone", lambda: set(ring.haproxy.servers()) == {"web.9", "web.10"})


def test_no_request_before_the_first_good_check(ring: Ring) -> None:
    ring.service()
    ring.until_applied(ring.instance(1))
    ring.web.sick.add("web.2")
    with load(ring.port) as running:
        revision = ring.instance(2)
        ring.until_applied(revision)
        within(SOON_S, "it is checked", lambda: ring.web.checks["web.2"] > 0)
        time.sleep(0.3)
        assert ring.web.hits["web.2"] == 0
        assert ring.confd.state()["pending_admissions"] == ["web.80/web.2"]
        # A slow one holds up nobody else.
        ring.instance(3)
        ring.until_serving(1, 3)
        ring.web.sick.clear()
        ring.until_serving(1, 2, 3)
        within(SOON_S, "no admission is pending", lambda: ring.confd.state()["pending_admissions"] == [])
    assert running.failures == []


def test_a_server_that_stays_sick_is_not_checked_every_few_milliseconds(ring: Ring) -> None:
    ring.service()
    ring.web.sick.add("web.1")
    ring.until_applied(ring.instance(1))
    time.sleep(1.5)
    before = ring.web.checks["web.1"]
    time.sleep(1.0)
    assert ring.web.checks["web.1"] - before < 20


def test_a_name_comes_back_while_its_removal_waits_for_a_stream(ring: Ring) -> None:
    ring.service()
    ring.instance(1)
    ring.until_applied(ring.instance(2))
    ring.until_serving(1, 2)
    with load(ring.port, connections=4) as running:
        ring.web.held.add("web.2")
        hits = ring.web.hits["web.2"]
        within(SOON_S, "one waits there", lambda: ring.web.hits["web.2"] > hits)
        ring.until_applied(ring.withdraw(2))
        assert ring.confd.state()["pending_removals"] == ["web.80/web.2"]
        ring.until_applied(ring.instance(2, address=ring.web.open("web.2b")))
        assert ring.web.hits["web.2b"] == 0, "it waits, too"
        ring.web.held.clear()
        ring.until_serving(1, 2)
        within(SOON_S, "the new address serves", lambda: ring.web.hits["web.2b"] > 0)
    assert running.failures == []
    assert ring.haproxy.servers()["web.2"][0] == ring.addresses["web.2"]


def test_many_at_once_are_one_change(ring: Ring) -> None:
    ring.service()
    address = ring.web.open("all")
    before = int(str(ring.confd.state()["renders"]))
    revision = 0
    for number in range(1, 41):
        revision = ring.instance(number, address=address)
    within(SOON_S, "all serve", lambda: len(ring.haproxy.serving()) == 40)
    ring.until_applied(revision)  # told of a moment after it is so
    assert ring.confd.state()["reloads"] == 1
    assert int(str(ring.confd.state()["renders"])) - before <= 42


def test_drift_is_repaired_and_counted(idle_ring: Ring) -> None:
    idle_ring.confd.check_every("200ms")
    idle_ring.start()
    idle_ring.service()
    idle_ring.instance(1)
    idle_ring.until_applied(idle_ring.instance(2))
    idle_ring.until_serving(1, 2)
    idle_ring.haproxy.ask("set server web.80/web.1 state maint;set server web.80/web.2 weight 7")
    idle_ring.until_serving(1, 2)
    within(SOON_S, "weights are back", lambda: idle_ring.haproxy.servers()["web.2"][3] == 100)
    within(SOON_S, "counted", lambda: int(str(idle_ring.confd.state()["drift_repairs"])) >= 2)


def test_a_failed_answer_names_its_instance(ring: Ring) -> None:
    import http.client

    ring.service()
    ring.until_applied(ring.instance(1))
    ring.until_serving(1)
    ring.web.delay_s["web.1"] = 30.0
    client = http.client.HTTPConnection("127.0.0.1", ring.port, timeout=SOON_S)
    client.request("POST", "/", body=b"x")
    within(SOON_S, "the request is inside", lambda: ring.web.hits["web.1"] == 1)
    ring.web.close("web.1")
    answer = client.getresponse()
    assert answer.status == 502
    assert answer.getheader("x-hecd-instance") == "web.1"
