"""The announcer with a Docker and an etcd in memory: races, outages, bursts."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from registrator.announce import watch
from registrator.announce.conventions import Rules
from registrator.announce.layout import RegistratorLayout
from registrator.announce.loop import Announcer, Settings
from registrator.health.verdict import Probe
from registrator.model.release import Healthcheck
from registrator.registry.held import HeldLease
from registrator.registry.store import Delete, Put
from tests.fakes.becoming import becomes
from tests.fakes.docker import FakeDocker, FakeEvents
from tests.fakes.store import FakeStore
from tests.unit.announce.documents import container

WEB, DB = container("web.0"), container("db.0")
VALUE = b"10.0.0.1:8080"


@pytest.fixture(autouse=True)
def events_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second look soon after the first would mend what events missed."""
    monkeypatch.setattr(watch, "AGAIN_AFTER_S", 60.0)


def slowly(happens: Callable[[], None]) -> Callable[[], None]:
    """It happens while Docker is asked, and its event has been read before Docker answers."""

    def meanwhile() -> None:
        happens()
        time.sleep(0.1)

    return meanwhile


def key(name: str) -> str:
    return f"/s/web/host1:{name}:80"


@dataclass
class Bench:
    store: FakeStore
    docker: FakeDocker
    announcer: Announcer
    good: bool = True
    probes: int = 0

    async def probe(self, address: str, check: Healthcheck) -> Probe:
        self.probes += 1
        return Probe(self.good, "" if self.good else "refused")

    def keys(self) -> dict[str, bytes]:
        return {key: raw.value for key, raw in self.store.snapshot().entries.items() if key.startswith("/s/")}

    async def becomes(self, *names: str) -> None:
        await becomes(lambda: self.keys() == {key(name): VALUE for name in names}, told=self.keys)


@asynccontextmanager
async def bench(folder: Path, *, resync_s: float = 60.0, docker: FakeDocker | None = None) -> AsyncIterator[Bench]:
    store, docker = FakeStore(), docker or FakeDocker()
    held = HeldLease(store, 10, folder / "lease")
    settings = Settings(Rules("host1", ip="10.0.0.1"), resync_s=resync_s)
    made = Bench(store, docker, None)  # type: ignore[arg-type]
    made.announcer = Announcer(store, docker, RegistratorLayout("/s", "host1"), held, made.probe, settings)
    docker.put(WEB, "")
    task = asyncio.create_task(made.announcer.run())
    try:
        await made.becomes("web.0")
        yield made
    finally:
        docker.leave()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_death_during_the_look_that_its_start_caused_is_not_overlooked(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.docker.meanwhile = slowly(lambda: b.docker.die(DB))
        b.docker.put(DB)
        await becomes(lambda: not b.docker._containers[DB.id].running)
        b.docker.put(container("last"))
        await b.becomes("web.0", "last")


async def test_an_order_to_end_during_the_first_look_is_not_overlooked(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.docker.meanwhile = slowly(lambda: b.docker.tell(DB.id, "kill", signal="15"))
        b.docker.put(DB)
        await becomes(lambda: DB.id in b.announcer._watch.seen)
        b.docker.put(container("last"))
        await b.becomes("web.0", "last")


async def test_an_order_to_end_before_the_first_listing_is_not_overlooked(tmp_path: Path) -> None:
    docker = FakeDocker()
    docker.put(DB)
    docker.meanwhile = slowly(lambda: docker.tell(DB.id, "kill", signal="15"))
    async with bench(tmp_path, docker=docker) as b:  # only web.0 is announced
        assert DB.id in b.announcer._watch.seen


async def test_a_death_during_a_listing_is_not_overlooked(tmp_path: Path) -> None:
    async with bench(tmp_path, resync_s=0.05) as b:
        b.docker.meanwhile = slowly(lambda: b.docker.die(WEB))
        await b.becomes()
        listings = b.docker.listings
        await becomes(lambda: b.docker.listings > listings + 2)
        assert b.keys() == {}


async def test_a_start_during_a_listing_is_not_overlooked(tmp_path: Path) -> None:
    async with bench(tmp_path, resync_s=0.05) as b:
        b.docker.meanwhile = slowly(lambda: b.docker.put(DB))
        await b.becomes("web.0", "db.0")


async def test_what_no_event_told_is_found_by_looking_again(tmp_path: Path) -> None:
    async with bench(tmp_path, resync_s=0.05) as b:
        b.docker.put(DB, "")
        await b.becomes("web.0", "db.0")
        b.docker.die(WEB, told=False)
        await b.becomes("db.0")
        b.docker.remove(DB, told=False)
        await b.becomes()


async def test_while_docker_is_away_what_is_known_stays_and_what_it_missed_is_found(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        revision = b.store.snapshot().revision
        b.docker.leave()
        b.docker.die(WEB)
        b.docker.put(DB)
        await asyncio.sleep(0.3)  # several attempts to reach it
        assert b.store.snapshot().revision == revision
        b.docker.away = False
        await b.becomes("db.0")


async def test_events_that_end_begin_again_with_a_listing(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.docker.hang_up()
        b.docker.put(DB, "")
        await b.becomes("web.0", "db.0")


async def test_while_etcd_is_away_what_happens_is_told_afterwards_at_once(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.store.away = True
        b.docker.die(WEB)
        b.docker.put(DB)
        await becomes(lambda: b.announcer._trouble != "")
        assert list(b.keys()) == [key("web.0")]
        revision = b.store.snapshot().revision
        b.store.away = False
        await b.becomes("db.0")
        assert b.store.snapshot().revision == revision + 1


@pytest.mark.parametrize("loss", ["expire", "wipe"])
async def test_after_a_loss_everything_is_said_under_a_new_lease(tmp_path: Path, loss: str) -> None:
    async with bench(tmp_path) as b:
        lease = b.store.snapshot().entries[key("web.0")].lease
        b.store.expire(lease) if loss == "expire" else b.store.wipe()
        await b.becomes("web.0")
        assert b.store.snapshot().entries[key("web.0")].lease not in (0, lease)


async def test_a_write_that_is_told_that_the_lease_is_gone_does_not_wait_for_its_renewal(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.store._leases.clear()  # and the lease's holder hears nothing of it
        await b.store.commit([Delete(key("web.0"))])
        await b.becomes("web.0")


async def test_a_burst_is_a_few_writes(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        revision = b.store.snapshot().revision
        b.store.away = True
        for number in range(250):
            b.docker.put(container(f"c{number}"))
        await becomes(lambda: len(b.announcer._watch.seen) == 251)
        b.store.away = False
        await becomes(lambda: len(b.keys()) == 251)
        assert b.store.snapshot().revision - revision == 3  # of at most 100 each


async def test_one_that_somebody_else_removed_is_said_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.store.commit([Delete(key("web.0"))])
        await b.becomes("web.0")


async def test_nothing_is_said_of_what_stands_there(tmp_path: Path) -> None:
    async with bench(tmp_path, resync_s=0.02) as b:
        revision, listings = b.store.snapshot().revision, b.docker.listings
        b.docker.tell(WEB.id, "update")
        await b.store.commit([Put("/other", b"1")])
        await becomes(lambda: b.docker.listings > listings + 3)
        assert b.store.snapshot().revision == revision + 1


async def test_a_probe_gates_follows_and_ends_with_its_container(tmp_path: Path) -> None:
    asked = container("asked", env=("SERVICE_CHECK_TCP=yes", "SERVICE_CHECK_INTERVAL=10ms"))
    async with bench(tmp_path) as b:
        b.good = False
        b.docker.put(asked)
        await becomes(lambda: b.probes > 2)
        assert list(b.keys()) == [key("web.0")]
        b.good = True
        await b.becomes("web.0", "asked")
        b.good = False
        await b.becomes("web.0")
        b.docker.die(asked)
        await becomes(lambda: not b.announcer._probing._tasks)
        probes = b.probes
        await asyncio.sleep(0.05)
        assert b.probes == probes


async def test_a_docker_that_answers_with_its_first_event_only_is_listed_before(tmp_path: Path) -> None:
    gate = threading.Event()

    class Podman(FakeDocker):
        def subscribe(self, since: float) -> FakeEvents:
            events = super().subscribe(since)
            gate.wait(30.0)
            return events

    docker = Podman()
    try:
        async with bench(tmp_path, docker=docker) as b:  # web.0 is announced
            b.docker.put(DB)
            gate.set()
            await b.becomes("web.0", "db.0")
    finally:
        gate.set()
