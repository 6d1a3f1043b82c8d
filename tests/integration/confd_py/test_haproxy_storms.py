"""Very many changes: few renders, fewer reloads or none at all, and in the end just what is wanted."""

from __future__ import annotations

import asyncio
import json
import random
import time

import etcdkit
from confd_py.haproxy.master import parse_processes
from tests.integration.confd_py.conftest import Ring
from tests.integration.confd_py.parts import SOON_S, within
from tests.integration.confd_py.test_haproxy_content import Site, sha1, site

__all__ = ["site"]  # a fixture
Changes = list[tuple[str, object]]  # key and value; None deletes it


def storm(ring: Ring, changes: Changes, lasts_s: float = 0.0) -> int:
    """Make all of them, evenly over `lasts_s`, or longer; the last revision."""

    async def make() -> int:
        client = etcdkit.Client([ring.etcd.endpoint])
        begun_s, revision = time.monotonic(), 0
        for number, (key, value) in enumerate(changes):
            if value is None:
                await client.delete(key)
            else:
                text = value if isinstance(value, str) else json.dumps(value)
                revision = await client.put(key, text.encode())
            await asyncio.sleep(max(0.0, begun_s + lasts_s * number / len(changes) - time.monotonic()))
        await client.close()
        return revision

    return asyncio.run(make())


class Fleet:
    """Instances that change at random; `weights` is what HAProxy has to have of them."""

    def __init__(self, ring: Ring, seed: int) -> None:
        self._ring = ring
        self._dice = random.Random(seed)
        self._addresses = [ring.web.open(f"w{number}") for number in range(4)]
        self._where: dict[int, str] = {}
        self.weights: dict[int, int] = {}

    def change(self) -> tuple[str, object]:
        """One instance comes, goes, drains, moves or gets another weight."""
        number, turn = self._dice.randrange(1, 31), self._dice.random()
        if number in self.weights and turn < 0.25 and len(self.weights) > 2:
            del self.weights[number], self._where[number]
            return f"/hecd/instances/web/web.{number}", None
        if number not in self._where or turn < 0.35:
            self._where[number] = self._dice.choice(self._addresses)
        return self.put(number, draining=0.35 < turn < 0.55)

    def put(self, number: int = 31, *, draining: bool = False) -> tuple[str, object]:
        where = self._where.setdefault(number, self._addresses[0])
        weight = self._dice.randrange(1, 256)
        self.weights[number] = 0 if draining else weight
        state = "draining" if draining else "running"
        return self._ring.instance_record(number, state=state, address=where, weight=weight)

    def in_effect(self) -> bool:
        wanted = {f"web.{n}": (self._where[n], 2, 0, weight) for n, weight in self.weights.items()}
        return self._ring.haproxy.servers() == wanted


def reloads_of_haproxy(ring: Ring) -> tuple[int, int]:
    """Reloads and the worker, as its master tells."""
    found = parse_processes(ring.haproxy.ask_master("show proc"))
    return found.reloads, found.worker


def test_a_thousand_changes_take_no_reload(site: Site) -> None:
    """Instances and a certificate, at random; looked at after every fifty."""
    ring, dice = site.ring, random.Random(11)
    site.start()
    fleet = Fleet(ring, 11)
    ring.service()
    ring.until_applied(ring.put(*fleet.put()))
    within(SOON_S, "the certificate is in effect", lambda: site.state(site.pem)("error") is None)
    before, certificate = reloads_of_haproxy(ring), 0
    for _ in range(20):
        changes: Changes = []
        for _ in range(49):
            if dice.random() < 0.1:
                certificate = 1 - certificate
                changes.append(("/certs/site", site.good[certificate]))
            else:
                changes.append(fleet.change())
        revision = storm(ring, [*changes, fleet.put()])
        ring.until_applied(revision)
        within(SOON_S, "servers are as wanted", fleet.in_effect)
        within(SOON_S, "the certificate is served", lambda: site.served() == sha1(site.good[certificate]))  # noqa: B023
    assert reloads_of_haproxy(ring) == before
    assert ring.confd.state()["drift_repairs"] == 0


def test_a_storm_of_instances_makes_few_renders(ring: Ring) -> None:
    fleet = Fleet(ring, 13)
    ring.service()
    ring.until_applied(ring.put(*fleet.put()))
    time.sleep(1.5)  # quiet: what is rationed is there again
    before, begun_s = ring.confd.state(), time.monotonic()
    revision = storm(ring, [*(fleet.change() for _ in range(999)), fleet.put()], 1.0)
    ring.until_applied(revision)
    after, took_s = ring.confd.state(), time.monotonic() - begun_s
    within(SOON_S, "servers are as wanted", fleet.in_effect)
    assert int(str(after["renders"])) - int(str(before["renders"])) <= 10 * max(1.0, took_s), took_s
    assert after["reloads"] == before["reloads"]


def test_a_storm_of_structure_makes_few_reloads(ring: Ring) -> None:
    """Every other change takes a reload; instances do not wait for it."""
    fleet = Fleet(ring, 17)
    ring.service()
    ring.until_applied(ring.put(*fleet.put()))
    time.sleep(3.0)  # quiet: what is rationed is there again
    before, begun_s = ring.confd.state(), time.monotonic()
    kinds = ["leastconn", "random", "roundrobin"]
    changes = [
        fleet.change() if number % 2 else ring.service_record(balance=kinds[number // 2 % 3], retries=number)
        for number in range(998)
    ]
    last = ring.service_record(balance="first")
    revision = storm(ring, [*changes, fleet.put(), last], 1.0)
    ring.until_applied(revision)
    after, took_s = ring.confd.state(), time.monotonic() - begun_s
    within(SOON_S, "servers are as wanted", fleet.in_effect)
    assert "balance first" in ring.haproxy.config.read_text()
    # The last state may wait for its turn, and the storm take longer than it was meant to: what counts is the time
    # until all is in effect.
    assert int(str(after["renders"])) - int(str(before["renders"])) <= 10 * max(1.0, took_s) + 1, took_s
    # Two at once, then three in four seconds.
    assert 1 <= int(str(after["reloads"])) - int(str(before["reloads"])) <= 2 + 0.75 * took_s, took_s


def test_a_change_that_comes_alone_does_not_wait(ring: Ring) -> None:
    """Forty in a row, each as soon as the one before is in effect: none is taken for a storm."""
    ring.service()
    ring.until_applied(ring.instance(1))
    took_s = []
    for number in range(40):
        begun_s = time.monotonic()
        ring.until_applied(storm(ring, [ring.instance_record(1, weight=number + 1)]))
        took_s.append(time.monotonic() - begun_s)
    # Rationed, all but three would take 0.2 s each; some may meet a machine that stands still.
    assert sorted(took_s)[20] < 0.15, took_s
