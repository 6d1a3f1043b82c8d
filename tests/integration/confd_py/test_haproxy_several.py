"""One file, two HAProxy processes: both follow, and one that is away, hangs or refuses holds up nobody."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.ports import free_port
from tests.integration.confd_py.conftest import Ring
from tests.integration.confd_py.parts import SOON_S, Haproxy, load, within


class Pair:
    """A ring whose file is run by a second HAProxy, too."""

    def __init__(self, ring: Ring, folder: Path) -> None:
        self.ring = ring
        self.first = ring.haproxy
        self.second = Haproxy(folder / "second", ring.haproxy.binary)
        self.second.config = ring.haproxy.config
        template = ring.confd.confdir / "templates" / "haproxy.cfg.j2"
        template.write_text(template.read_text().replace("{{ run }}/", "${PLACE}/"))
        toml = ring.confd.confdir / "conf.d" / "haproxy.toml"
        text, runs = toml.read_text(), (self.first.run, self.second.run)
        for key, name in (("socket", "admin.sock"), ("master_socket", "master.sock"), ("state_file", "state")):
            old = f'\n{key} = "${{HECD_HAPROXY_RUN:-/run/haproxy}}/{name}"'
            assert old in text
            text = text.replace(old, f"\n{key} = {[f'{run}/{name}' for run in runs]}")
        toml.write_text(text)
        ring.confd.check_every("300ms")

    def start(self) -> None:
        for haproxy in (self.first, self.second):
            (haproxy.run / "state").write_text("1\n")
        self.ring.etcd.start()
        self.ring.confd.start()
        within(SOON_S, "the first file", self.first.config.exists)
        self.first.start()
        self.second.start()
        within(SOON_S, "applied", lambda: self.ring.confd.applied(1))

    def until_serving(self, *numbers: int) -> None:
        wanted = {f"web.{number}" for number in numbers}
        within(SOON_S, f"{numbers} serving", lambda: self.first.serving() == self.second.serving() == wanted)


@pytest.fixture
def pair(idle_ring: Ring, tmp_path: Path) -> Iterator[Pair]:
    both = Pair(idle_ring, tmp_path)
    try:
        both.start()
        both.ring.service()
        both.ring.instance(1)
        both.ring.until_applied(both.ring.instance(2))
        both.until_serving(1, 2)
        yield both
    finally:
        both.second.stop()


def test_both_follow_without_a_failed_request(pair: Pair) -> None:
    ring = pair.ring
    reloads = int(str(ring.confd.state()["reloads"]))
    with load(ring.port) as running:
        ring.until_applied(ring.instance(3))
        pair.until_serving(1, 2, 3)
        assert ring.confd.state()["reloads"] == reloads
        ring.until_applied(ring.instance(1, state="draining"))
        pair.until_serving(2, 3)
        ring.until_applied(ring.service("api", port=free_port()))
        assert int(str(ring.confd.state()["reloads"])) == reloads + 2
        time.sleep(0.2)
        ring.until_applied(ring.withdraw(1))
    assert running.failures == []
    assert running.sent > 100
    pair.until_serving(2, 3)


def test_one_that_is_away_is_named_and_comes_back(pair: Pair) -> None:
    ring, socket = pair.ring, str(pair.second.run / "admin.sock")
    pair.second.stop()
    revision = ring.instance(3)
    within(SOON_S, "the first serves", lambda: pair.first.serving() == {"web.1", "web.2", "web.3"})
    words = f"{socket}: no HAProxy answers"
    within(SOON_S, "told", lambda: words in str(ring.confd.state().get("error_details")), ring.confd.told)
    state = ring.confd.state()
    assert state["behind"] == [socket]
    assert isinstance(state["error_details"], list)
    assert f"{pair.first.run}/admin.sock: in step" in state["error_details"]
    assert not ring.confd.applied(revision)
    pair.second.start()
    ring.until_applied(revision)
    pair.until_serving(1, 2, 3)
    assert ring.confd.state()["behind"] == []


def test_one_that_hangs_holds_up_nobody(pair: Pair) -> None:
    ring = pair.ring
    worker = pair.second.worker_pid()
    os.kill(worker, signal.SIGSTOP)
    try:
        ring.instance(3)
        within(4.5, "the first serves", lambda: "web.3" in pair.first.serving())  # an answer is waited for for 5 s
        within(SOON_S, "it is named", lambda: behind(ring) == [str(pair.second.run / "admin.sock")])
        took_s = [served_after_s(pair, number) for number in range(4, 8)]
        # Were it waited for, all but the first would take 5 s; a single one may meet a machine that stands still.
        assert sorted(took_s)[2] < 1, took_s
    finally:
        os.kill(worker, signal.SIGCONT)
    ring.until_applied(ring.withdraw(7))
    pair.until_serving(1, 2, 3, 4, 5, 6)


def behind(ring: Ring) -> list[str]:
    """The sockets of those that have not got the configuration yet."""
    found = ring.confd.state()["behind"]
    assert isinstance(found, list)
    return found


def served_after_s(pair: Pair, number: int) -> float:
    """How long it takes until the first HAProxy serves one that is announced now."""
    pair.ring.instance(number)
    begun_s = time.monotonic()
    within(SOON_S, "the first serves", lambda: f"web.{number}" in pair.first.serving())
    return time.monotonic() - begun_s


def test_drift_in_either_is_repaired(pair: Pair) -> None:
    def is_repaired(haproxy: Haproxy) -> None:
        within(SOON_S, "repaired", lambda: haproxy.servers()["web.1"][3] == 100)

    for haproxy in (pair.first, pair.second):
        haproxy.ask("set server web.80/web.1 weight 3")
        is_repaired(haproxy)
    within(SOON_S, "counted", lambda: int(str(pair.ring.confd.state()["drift_repairs"])) >= 2)


def test_what_both_refuse_leaves_the_old_file(pair: Pair) -> None:
    ring = pair.ring
    good = pair.first.config.read_text()
    template = ring.confd.confdir / "templates" / "haproxy.cfg.j2"
    whole = template.read_text()
    template.write_text(whole.replace("    stats timeout 1h", "    stats socket /nonexistent-for-hecd/x"))
    ring.service("api", port=free_port())
    within(SOON_S, "the fault is told", lambda: "the reload failed" in str(ring.confd.state()["error"]))
    assert pair.first.config.read_text() == good
    assert sorted(behind(ring)) == sorted(str(haproxy.run / "admin.sock") for haproxy in (pair.first, pair.second))
    template.write_text(whole)
    ring.until_applied(ring.instance(3))
    pair.until_serving(1, 2, 3)
