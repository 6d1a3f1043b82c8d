"""A lab of five hosts that all fleet tests share, and requests through its load balancers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from registrator.config import EtcdAccess
from registrator.errors import HecdError
from registrator.lab.plan import read
from registrator.model.names import NodeName, ServiceName
from registrator.model.rollout import ENDED, Rollout
from registrator.registry.etcd import open_store
from registrator.registry.world import Reader, World
from tests.fakes.load import Load
from tests.fakes.roots import end_killed, new_root

WEB = ServiceName("web")
PREFIX = "hecd-fleet-"
HECD = str(Path(sys.executable).with_name("hecd"))


@dataclass
class Done:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class LabHere:
    """A lab below a root of its own, driven by the command line."""

    root: Path
    took_s: float = 0.0
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def folder(self) -> Path:
        return self.root / "lab"

    def lab(self, *words: str, timeout_s: float = 90.0) -> Done:
        return self.hecd("--root", str(self.root), "lab", *words, timeout_s=timeout_s)

    def hecd(self, *words: str, timeout_s: float = 90.0, stdin: str | None = None) -> Done:
        done = subprocess.run(
            [HECD, *words], env=self.environment, input=stdin, capture_output=True, text=True, timeout=timeout_s
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def up(self, *words: str) -> None:
        begun = time.monotonic()
        done = self.lab("up", *words)
        assert done.code == 0, done.err
        self.took_s = time.monotonic() - begun
        env = self.lab("env")
        assert env.code == 0, env.err
        self.environment["HECD_CONFIG"] = env.out.strip().removeprefix("export HECD_CONFIG=")

    def down(self) -> None:
        done = self.lab("down")
        assert done.code == 0, done.err

    @property
    def hosts(self) -> dict[str, dict[str, Any]]:
        return {host["name"]: host for host in json.loads((self.folder / "lab.json").read_text())["hosts"]}

    @property
    def keeper(self) -> int:
        return int((self.folder / "keeper.lock").read_text())

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def until(self, good: Callable[[], object], within_s: float, what: str) -> float:
        """Wait until `good`; how many seconds it took."""
        begun = time.monotonic()
        while time.monotonic() - begun < within_s:
            if good():
                return time.monotonic() - begun
            time.sleep(0.05)
        raise AssertionError(f"not within {within_s:g} s: {what}\n{self.lab('status').out}{self.hecd('ps').out}")


@contextlib.contextmanager
def rooted() -> Iterator[LabHere]:
    """A root for a lab; whatever was put up there is taken down."""
    with new_root(PREFIX) as root:
        here = LabHere(root)
        try:
            yield here
        finally:
            here.down()


@pytest.fixture(scope="session", autouse=True)
def _no_labs_of_before() -> None:
    end_killed(PREFIX, lambda root: LabHere(root).down())


@pytest.fixture
def small() -> Iterator[LabHere]:
    with rooted() as here:
        yield here


COMPOSE = """
name: fleet
services:
  web:
    image: hecd/sample:{release}
    ports: ["8080:8080"]
    environment: {{BROKEN: "{broken}", NUMBER: "{number}"}}
    stop_grace_period: 3s
    deploy:
      replicas: {replicas}
      update_config:
        {{order: start-first, parallelism: {parallelism}, monitor: 1s, delay: {delay}, failure_action: rollback}}
      resources: {{limits: {{pids: 128}}}}
    x-hecd:
      drain_timeout: 10s
      canary: {canary}
      check: {{path: /health, interval: 200ms, timeout: 250ms}}
"""


class Watcher:
    """The registry as it is now, kept up to date by a thread, a moment late."""

    def __init__(self, access: EtcdAccess) -> None:
        self.world = World()
        self._access = access
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._watch())
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def catch_up(self) -> None:
        """Have in `world` what was done before this call, if etcd answers."""
        with contextlib.suppress(HecdError, TimeoutError):
            asyncio.run_coroutine_threadsafe(self._read(), self._loop).result(10.0)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        self._loop.close()

    async def _watch(self) -> None:
        reader = Reader()
        async with open_store(self._access) as store:
            while True:
                snapshot = store.snapshot()
                self._show(reader.read(snapshot))
                await store.changed(snapshot.mark)

    async def _read(self) -> None:
        async with open_store(self._access, ready_within_s=5.0) as store:
            self._show(Reader().read(store.snapshot()))

    def _show(self, world: World) -> None:
        if world.revision >= self.world.revision:
            self.world = world


@dataclass
class Fleet(LabHere):
    """Five hosts: etcd and control on h1 to h3, load balancers on h4 and h5, ten instances of web on all."""

    release: int = 0
    watcher: Watcher | None = None
    behind: bool = True  # whether a command may have done what the watcher has not heard of yet
    replicas: int = 10
    parallelism: int = 3

    @property
    def world(self) -> World:
        if self.watcher is None:
            self.watcher = Watcher(read((self.folder / "lab.json").read_text()).desk_settings.access)
        if self.behind:
            self.behind = False
            self.watcher.catch_up()
        return self.watcher.world

    def hecd(self, *words: str, timeout_s: float = 90.0, stdin: str | None = None) -> Done:
        done = super().hecd(*words, timeout_s=timeout_s, stdin=stdin)
        self.behind = self.behind or words[0] != "--root"  # a lab's own commands write nothing
        return done

    def deploy(self, *words: str, delay: str = "0s") -> None:
        """The next release; the sample app's image is the first one's, or the second's."""
        done = self.attempt(*words, delay=delay)
        assert done.code == 0, done.err

    def attempt(self, *words: str, delay: str = "0s", canary: str = "[]", broken: str = "") -> Done:
        """The same, whatever becomes of it; a broken one answers with errors only."""
        self.release += 1
        image = 1 + (self.release + 1) % 2
        text = COMPOSE.format(
            release=image, number=self.release, delay=delay, canary=canary, broken=broken,
            replicas=self.replicas, parallelism=self.parallelism,
        )  # fmt: skip
        return self.hecd("deploy", "-f", "-", *words, stdin=text)

    @property
    def rollout(self) -> Rollout:
        return self.world.rollouts[WEB]

    def serving(self, *hosts: str) -> set[str]:
        """The names of instances that serve, on all hosts or those named."""
        return {i.instance for i in self.world.of_service(WEB) if i.serving and (not hosts or i.node in hosts)}

    @property
    def leader(self) -> str:
        """The host whose control leads; "" while none does."""
        return self.world.leader or ""

    @property
    def etcd_leader(self) -> str:
        """The host whose member leads etcd; one is waited for, as a machine that stands still has them elect anew."""
        end_s = time.monotonic() + 20.0
        while time.monotonic() < end_s:
            if found := self._etcd_leader_now():
                return found
            time.sleep(0.1)
        raise AssertionError("etcd has no leader")

    def _etcd_leader_now(self) -> str:
        for name, host in self.hosts.items():
            if "etcd" in host["roles"]:
                argv = ["etcdctl", f"--endpoints={host['address']}:2379", "--command-timeout=1s"]
                environment = {"ETCDCTL_API": "3", "PATH": os.environ["PATH"]}
                asked = [*argv, "endpoint", "status", "-w", "json"]
                found = json.loads(subprocess.run(asked, env=environment, capture_output=True, text=True).stdout or "0")
                if not found:
                    continue  # a dead one
                status = found[0]["Status"]
                if status["leader"] == status["header"]["member_id"]:
                    return name
        return ""

    def container(self, instance: str) -> tuple[int, int]:
        """The instance's first process: its start time and number, which are others once it was restarted."""
        mark = f"HECD_INSTANCE={instance}\0".encode()
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in (folder / "environ").read_bytes():
                        started = int((folder / "stat").read_text().rpartition(")")[2].split()[19])
                        found.append((started, int(folder.name)))
        assert found, f"no process of {instance}"
        return min(found)

    @contextlib.contextmanager
    def load(
        self, kept_rate: int = 100, fresh_rate: int = 40, path: str = "/", kept: int = 16
    ) -> Iterator[dict[str, dict[str, Any]]]:
        """Requests through both load balancers while the block runs, every third a POST; then reports by edge."""
        rates = {"kept": kept, "kept-rate": kept_rate, "fresh-rate": fresh_rate, "path": path}
        generators = {
            name: Load({"address": h["address"], "port": 8080, "seconds": 3600, **rates})
            for name, h in self.edges.items()
        }
        reports: dict[str, dict[str, Any]] = {}
        try:
            for load in generators.values():
                load.flows()
            yield reports
            time.sleep(0.5)
        finally:
            for load in generators.values():
                load.stop()
            reports |= {name: load.report() for name, load in generators.items()}
        for name, report in reports.items():
            assert report["sent"] > 50, f"no load on {name}: this proves nothing"

    @property
    def edges(self) -> dict[str, dict[str, Any]]:
        return {name: host for name, host in self.hosts.items() if "edge" in host["roles"]}

    def settle(self) -> None:
        """All healed, all replicas serve, and both load balancers know just these."""
        done = self.lab("heal")
        assert done.code == 0, done.err
        self.until(self.settled, 90.0, f"{self.replicas} instances serve on both load balancers")

    def settle_whatever(self, within_s: float) -> None:
        """All healed, and the release that is wanted has ended, however many instances it has."""
        done = self.lab("heal")
        assert done.code == 0, done.err
        self.until(lambda: self.leader and self.rollout.state in ENDED, within_s, "the last release has ended")

    def settled(self) -> bool:
        names, world = self.serving(), self.world
        count = len(list(world.of_service(WEB)))
        if not len(names) == count == self.replicas or not self.leader or len(world.nodes) != 5:
            return False
        seen = [world.edges[NodeName(e)].servers.get("web.8080", {}) for e in self.edges if e in world.edges]
        # A load balancer keeps those of a lost host for a while, in which they are down.
        return len(seen) == 2 and all({name for name, report in s.items() if report.open} == names for s in seen)


def failures(reports: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Every request that failed, through any load balancer."""
    return [{"edge": edge, **f} for edge, report in reports.items() for f in report["failures"]]


@pytest.fixture(scope="session")
def built() -> Iterator[Fleet]:
    with rooted() as here:
        fleet = Fleet(here.root)
        fleet.up("5", "--edges", "2", "--etcd", "3")
        fleet.deploy()
        try:
            yield fleet
        finally:
            if fleet.watcher is not None:
                fleet.watcher.close()


@pytest.fixture
def fleet(built: Fleet) -> Iterator[Fleet]:
    """The lab, healed and settled; and so it is left."""
    built.settle()
    yield built
    built.settle()
