"""Reloads beside everything else: none is lost, none loses a change, none loses a request."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path

import pytest

from confd_py import dest
from confd_py.errors import HaproxyAway
from confd_py.haproxy.config import parse, stamped
from confd_py.haproxy.reload import Reloader
from confd_py.haproxy.runtime import Runtime
from tests.integration.confd_py.direct import Direct, running
from tests.integration.confd_py.parts import SOON_S, Web, load, within


@pytest.fixture
def direct(tmp_path: Path, haproxy_binary: str) -> Direct:
    return Direct(tmp_path, haproxy_binary)


class Race:
    """1,000 updates beside 50 reloads. Each is written to the file first, then told to HAProxy, as the applier does."""

    def __init__(self, direct: Direct) -> None:
        self._direct = direct
        self._runtime = Runtime(direct.place.socket, direct.place.master_socket)
        self._reloader = Reloader(direct.resource, direct.place, self._runtime)
        self._lines = {f"b{number}": "server s 127.0.0.1:9 weight 1" for number in range(100)}
        self._plain = parse(self._text())
        self._reloads = 0
        self.weights: dict[str, int] = {}

    async def run(self) -> None:
        self._write()
        Path(self._direct.place.state_file).write_text("1\n")
        self._direct.haproxy.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._reload_again_and_again())
                tasks.create_task(self._update_all())
        finally:
            await self._runtime.disconnect()

    async def _reload_again_and_again(self) -> None:
        for _ in range(50):
            await self._reloader.reload(self._plain)
            self._reloads += 1

    async def _update_all(self) -> None:
        dice = random.Random(3)
        names = list(self._lines)
        for number in range(1000):
            name = names[number * 7 % len(names)]
            self.weights[name] = dice.randrange(1, 250)
            self._lines[name] = f"server s 127.0.0.1:9 weight {self.weights[name]}"
            self._write()
            await self._tell(name)
            while self._reloads < min(50, number // 20):  # spread over all of them, however long each takes
                await asyncio.sleep(0.001)

    async def _tell(self, name: str) -> None:
        end_s = time.monotonic() + SOON_S
        while time.monotonic() < end_s:
            try:
                await self._runtime.converge(parse(f"backend {name}\n    {self._lines[name]}\n"), [name])
                return
            except HaproxyAway:
                await asyncio.sleep(0.005)
        raise AssertionError(f"{name} was never taken")

    def _text(self) -> str:
        return self._direct.text({"main": (), **{name: (line,) for name, line in self._lines.items()}})

    def _write(self) -> None:
        dest.replace_text(self._direct.haproxy.config, stamped(self._text(), self._plain.stamp), durable=False)


async def test_updates_that_race_reloads_all_land(direct: Direct) -> None:
    """A new process that read the file just before an update never hears of it unless whoever tells waits for it.

    Each update is of a backend that nobody looks at again, so nothing else makes it good.
    """
    race = Race(direct)
    try:
        await race.run()
        seen = direct.servers()
        assert {name: seen[name, "s"][1] for name in race.weights} == race.weights
    finally:
        direct.haproxy.stop()


async def test_reloads_close_to_those_of_somebody_else_all_land(direct: Direct) -> None:
    """HAProxy 2.6 drops a reload silently that comes while another runs: here 2 to 250 ms after one."""
    dice = random.Random(5)

    def answered(generation: int) -> None:
        within(SOON_S, f"{generation} is answered", lambda: direct.generation() == generation)

    async with running(direct, {"main": ()}):
        before = direct.applier.tally.reloads
        for generation in range(1, 51):
            os.kill(direct.haproxy.master_pid, signal.SIGUSR2)
            await asyncio.sleep(0.002 * 125 ** dice.random())
            await direct.apply({"main": ()}, generation)
            # The old process may take a connection more in the moment before it is told to leave.
            answered(generation)
    assert direct.applier.tally.reloads - before == 50


async def test_reloads_and_servers_that_come_and_go_fail_no_request(direct: Direct) -> None:
    """50 reloads, 18,000 servers added and as many deleted, under keep-alive and POST load."""
    web = Web()
    addresses = [web.open(f"w{number}") for number in range(8)]
    kept = ("balance roundrobin", f"server kept {addresses[0]} weight 100")
    many = tuple(f"server s{number} {addresses[number % 8]} weight 100" for number in range(360))
    try:
        async with running(direct, {"main": kept}):
            before = direct.applier.tally.reloads
            with load(direct.port) as running_load:
                for generation in range(1, 51):
                    await direct.apply({"main": kept}, generation)
                    await direct.apply({"main": (*kept, *many)}, generation)
                    assert len(direct.servers()) == 361
                    await direct.apply({"main": kept}, generation)
                    await direct.settled()
                    assert list(direct.servers()) == [("main", "kept")]
        assert running_load.failures == []
        assert running_load.sent > 1000
        assert len(running_load.served) == 8
        assert direct.applier.tally.reloads - before == 50
    finally:
        web.stop()
