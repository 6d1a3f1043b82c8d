"""Rolling servers, reloads and kill -9 of confd-py in random order under load: no request fails, all ends in step."""

from __future__ import annotations

import random
import time

from tests.fakes.ports import free_port
from tests.integration.confd_py.conftest import Ring
from tests.integration.confd_py.parts import SOON_S, load, within

SECONDS = 8.0


class Releases:
    """Adds instances, and takes them out as an agent does: drain, wait until idle, withdraw, kill."""

    def __init__(self, ring: Ring, dice: random.Random) -> None:
        self.ring = ring
        self.dice = dice
        self.present: list[int] = []
        self._last = 0

    def add(self) -> int:
        self._last += 1
        self.present.append(self._last)
        return self.ring.instance(self._last)

    def retire(self) -> None:
        number = self.present.pop(self.dice.randrange(len(self.present)))
        self.ring.until_serving(*self.present, number)
        self.ring.until_applied(self.ring.instance(number, state="draining"))
        within(SOON_S, "no stream is left", lambda: self._sessions(number) == "0")
        self.ring.until_applied(self.ring.withdraw(number))
        self.ring.web.close(f"web.{number}")

    def _sessions(self, number: int) -> str:
        rows = self.ring.haproxy.ask("show stat web.80 4 -1").splitlines()
        return next(row for row in rows if row.startswith(f"web.80,web.{number},")).split(",")[4]


def test_everything_at_once(ring: Ring) -> None:
    dice = random.Random(11)
    releases = Releases(ring, dice)
    other = free_port()
    ring.service()
    releases.add()
    ring.until_applied(releases.add())
    ring.until_serving(1, 2)
    with load(ring.port, connections=16) as running:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            chance = dice.random()
            if chance < 0.35 and len(releases.present) < 8:
                releases.add()
            elif chance < 0.8 and len(releases.present) > 2:
                releases.retire()
            elif chance < 0.93:
                ring.service(
                    "api", port=other, drain_timeout_s=dice.random(), balance=dice.choice(["leastconn", "random"])
                )
            else:
                ring.confd.kill()
                ring.confd.start()
        ring.until_applied(releases.add())
        ring.until_serving(*releases.present)
    assert running.failures == []
    assert running.sent > 1000
    names = {f"web.{number}" for number in releases.present}
    within(SOON_S, "what was retired is gone", lambda: set(ring.haproxy.servers()) == names)
