"""The demo from start to end: a machine of its own, the story, the table, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from registrator.agent import local
from registrator.config import Config, network_of
from registrator.demo import app
from registrator.demo.story import Story, at_port
from registrator.errors import AlreadyRunning, HecdError
from registrator.model.service import Project
from registrator.registry.etcd import open_store
from registrator.spec import load_project
from registrator.up import machine
from registrator.up.supervisor import Supervisor

READY_WITHIN_S = 30.0
PAUSE_S = 2.0  # between the steps, so that each one's effect on the requests can be told apart
FOLDER, PREFIX = Path("/var/tmp"), "hecd-demo-"  # noqa: S108 - a name of its own is made below it


@dataclass(frozen=True)
class Load:
    """Requests a second over `kept` keep-alive connections together, and over connections of their own."""

    kept: int = 64
    kept_rate: float = 500.0
    fresh_rate: float = 200.0


@dataclass
class Demo:
    """Give it `say`, which is handed every line of progress; `run` tells the story."""

    say: Callable[[str], None]
    load: Load
    releases: int = 1

    def run(self, tell: Callable[[Story], object]) -> Story:
        """Run the whole, whatever happens clean up after it, and give the story with its report to `tell`."""
        _remove_killed()
        root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=FOLDER))
        config = _config(root)
        lines: deque[str] = deque(maxlen=60)
        try:
            with machine.running(config, lambda program, line: lines.append(f"{program:9}| {line}")) as (config, sup):
                try:
                    story = asyncio.run(self._machine(config, sup))
                finally:
                    with local.opened(config) as here:
                        here.remove_all()
        except Exception:
            for line in lines:
                self.say(line)
            raise
        finally:
            shutil.rmtree(root, ignore_errors=True)
        tell(story)
        return story

    async def _machine(self, config: Config, supervisor: Supervisor) -> Story:
        begun = time.monotonic()
        supervisor.start()
        try:
            try:
                await machine.ready(config, READY_WITHIN_S)
            except TimeoutError as err:
                raise HecdError(f"the machine is not up after {READY_WITHIN_S:g} s") from err
            self.say(f"etcd, HAProxy, confd-py, control loop and agent are up ({time.monotonic() - begun:.1f} s)")
            return await self._tell(config)
        finally:
            try:
                self.say("stopping everything")  # which fails where nobody reads it any more
            finally:
                await supervisor.stop()

    async def _tell(self, config: Config) -> Story:
        port = machine.any_port()
        with local.opened(config) as here:
            for release in (1, 2):
                layout = Path(config.root, f"image-{release}")
                app.build(layout, release)
                here.load(layout)
            async with open_store(config.access) as store:
                story = Story(store, here, config.node, port, self.say)
                await story.deploy(self._project(1, port), "deploy release 1")
                reloads = story.reloads()
                self.say(f"load: {self.load.kept_rate:g} requests/s over {self.load.kept} connections, "
                         f"{self.load.fresh_rate:g}/s over new ones, every third a POST")  # fmt: skip
                async with story.load(self.load.kept, self.load.kept_rate, self.load.fresh_rate):
                    await asyncio.sleep(PAUSE_S)
                    for number in range(2, self.releases + 2):
                        await story.deploy(self._project(number, port), f"release {number - 1} -> {number}")
                    await asyncio.sleep(PAUSE_S)
                    await story.kill_one()
                    for before, count in ((4, 8), (8, 2)):
                        await asyncio.sleep(PAUSE_S)
                        await story.scale(count, before)
                    await asyncio.sleep(PAUSE_S)
                story.reloaded = story.reloads() - reloads
                return story

    def _project(self, release: int, port: int) -> Project:
        """examples/web, with the image of `release`; they alternate, as there are two."""
        folder = machine.data_dir("examples") / "web"
        words = {"RELEASE": str(2 - release % 2), "GREETING": f"release {release}"}
        return at_port(load_project(folder / "compose.yaml", words, folder), port)


def _config(root: Path) -> Config:
    bridge, pool = network_of(str(root))
    return Config(node="demo", root=str(root), bridge=bridge, subnet_pool=pool, lease_ttl=5)


def _remove_killed() -> None:
    """What demos left that had no time to clean up."""
    for root in FOLDER.glob(f"{PREFIX}*"):
        config = _config(root)
        if not config.lib.exists():  # it may just begin
            continue
        with contextlib.suppress(AlreadyRunning), machine.lock(config):
            with local.opened(config) as here:
                here.remove_all()
            shutil.rmtree(root, ignore_errors=True)
