"""A whole machine for end-to-end tests: `hecd up` as a process of its own, typed at like a person would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from registrator.demo import app
from registrator.up.machine import data_dir
from tests.fakes.load import Load
from tests.fakes.ports import free_port
from tests.fakes.roots import end_killed, new_root

HECD = str(Path(sys.executable).with_name("hecd"))
AWAY = 3  # the exit code where etcd does not answer
PATIENCE_S = 10
PREFIX = "hecd-e2e-"


@dataclass
class Done:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Machine:
    """One root directory with everything in it. `hecd` types a command."""

    root: Path
    environment: dict[str, str]
    port: int = field(default_factory=free_port)  # bound only when something is deployed
    _up: subprocess.Popen[bytes] | None = None

    def hecd(self, *words: str, stdin: str | None = None, timeout_s: float = 180.0) -> Done:
        done = subprocess.run(
            [HECD, *words], env=self.environment, capture_output=True, text=True, input=stdin, timeout=timeout_s
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def begin(self) -> None:
        log = (self.root / "up.log").open("ab")
        argv = [HECD, "up"]
        self._up = subprocess.Popen(argv, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self) -> None:
        self.begin()
        self.until(lambda: (edge := self.edge()) is not None and not edge["error"], 60.0, "the machine is up")

    def kill_up(self) -> None:
        """kill -9 of `hecd up`; its children go with it, containers do not."""
        assert self._up is not None
        self._up.kill()
        self._up.wait()

    def stop(self) -> None:
        if self._up is not None and self._up.poll() is None:
            self._up.send_signal(signal.SIGTERM)
            self._up.wait(120)

    def deploy(self, release: int = 1, *words: str, **more: str) -> Done:
        """Deploy the sample app; `more` overrides its variables."""
        self.environment.update(RELEASE=str(release), PORT=str(self.port), **more)
        return self.hecd("deploy", "-f", str(data_dir("examples") / "web" / "compose.yaml"), *words)

    def deploy_text(self, text: str) -> Done:
        return self.hecd("deploy", "-f", "-", stdin=text)

    def instances(self) -> list[dict[str, Any]]:
        """None while etcd does not answer for long, which is no fault where it is about to."""
        deadline = time.monotonic() + PATIENCE_S
        while (done := self.hecd("ps", "-o", "json")).code == AWAY and time.monotonic() < deadline:
            time.sleep(0.1)
        return done.json() if done.code == 0 else []

    def edge(self) -> dict[str, Any] | None:
        """What the load balancer has applied, as etcd has it."""
        found: dict[str, Any] | None = self.record("/hecd/edges/one")
        return found

    def reloads(self) -> int:
        """Of the load balancer so far."""
        edge = self.edge()
        assert edge is not None, "no load balancer has told of itself"
        return int(edge["reloads"])

    def server(self, name: str) -> dict[str, Any]:
        """What the load balancer says of a server of `web`; empty while it says nothing."""
        servers = (self.edge() or {"servers": {}})["servers"]
        found: dict[str, Any] = servers.get("web.8080", {}).get(name, {})
        return found

    def record(self, key: str) -> Any:
        out = self.etcdctl("get", "--print-value-only", key)
        return json.loads(out) if out.strip() else None

    def etcdctl(self, *words: str) -> str:
        endpoint = (self.root / "run" / "etcd").read_text() if (self.root / "run" / "etcd").exists() else ""
        if not endpoint:
            return ""
        patience = [f"--command-timeout={PATIENCE_S}s", f"--dial-timeout={PATIENCE_S}s"]  # its disk may stall
        argv = ["etcdctl", f"--endpoints={endpoint}", *patience, *words]
        done = subprocess.run(argv, env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
        return done.stdout

    def pids(self, *words: str) -> list[int]:
        """Processes of this machine whose command line holds all of `words`."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    mine = (
                        str(self.root) in line or f"HECD_ROOT={self.root}".encode() in (folder / "environ").read_bytes()
                    )
                    if mine and all(word in line for word in words):
                        found.append(int(folder.name))
        return found

    def kill(self, *words: str) -> list[int]:
        """kill -9 what `pids` finds; must find something."""
        found = self.pids(*words)
        assert found, f"no process with {words}"
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return found

    def kill_instance(self, name: str) -> None:
        """kill -9 of every process in the container of an instance; another machine may have one of its name."""
        mark = f"HECD_INSTANCE={name}\0".encode()
        pool = self.environment["HECD_SUBNET_POOL"].removesuffix("0.0/16")
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):
                    ours = pool in (folder / "net" / "fib_trie").read_text()
                    if ours and mark in (folder / "environ").read_bytes():
                        found.append(int(folder.name))
        assert found, f"no process of {name}"
        for pid in sorted(found):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def until(self, good: Callable[[], object], within_s: float, what: str) -> float:
        """Wait until `good`; how many seconds it took."""
        begun = time.monotonic()
        while time.monotonic() - begun < within_s:
            if good():
                return time.monotonic() - begun
            time.sleep(0.02)
        log = (self.root / "up.log").read_text()[-6000:] if (self.root / "up.log").exists() else ""
        raise AssertionError(f"not within {within_s} s: {what}\n{log}")

    @contextlib.contextmanager
    def load(self, *, kept_rate: float = 200, fresh_rate: float = 60, kept: int = 32) -> Iterator[dict[str, Any]]:
        """Requests while the block runs; the dictionary is the report afterwards."""
        rates = {"kept": kept, "kept-rate": kept_rate, "fresh-rate": fresh_rate}
        load = Load({"port": self.port, **rates, "seconds": 180})
        report: dict[str, Any] = {}
        try:
            load.flows()
            yield report
        finally:
            found = load.report()
        report.update(found)

    def clean(self) -> None:
        """Stop everything and take away what it made."""
        self.stop()
        down = self.hecd("down")
        assert down.code == 0, down.err


def outside_killed(report: dict[str, Any], victim: str, killed_at: float) -> list[dict[str, Any]]:
    """Failures other than of POSTs that were inside the killed instance: those can't be repeated."""

    def inside(failure: dict[str, Any]) -> bool:
        named = failure["instance"] == victim or (failure["kind"] == "reset" and not failure["fresh"])
        soon = failure["ended_at"] >= killed_at and failure["sent_at"] <= killed_at + 1.0
        return named and soon and failure["method"] == "POST"

    return [failure for failure in report["failures"] if not inside(failure)]


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sample app in two releases, as OCI layouts."""
    folder = tmp_path_factory.mktemp("images")
    for release in (1, 2):
        app.build(folder / str(release), release)
    return [folder / "1", folder / "2"]


@pytest.fixture
def machine(images: list[Path]) -> Iterator[Machine]:
    """A machine that is up, with the images of the sample app."""
    with made_machine(images) as made:
        yield made


@pytest.fixture(scope="session", autouse=True)
def _no_machines_of_before() -> None:
    end_killed(PREFIX, lambda root: Machine(root, {**os.environ, "HECD_ROOT": str(root)}).hecd("down"))


@contextlib.contextmanager
def made_machine(images: list[Path], *, wait: bool = True, **more: str) -> Iterator[Machine]:
    """Up (or, without `wait`, about to be) with these images; `more` are settings."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    with new_root(PREFIX) as root:
        # A root's pool follows from its name; two that are made at once would have the same one now and then.
        settings = {"HECD_ROOT": str(root), "HECD_NODE": "one", "HECD_SUBNET_POOL": f"10.{131 + worker}.0.0/16"}
        made = Machine(root, {**os.environ, **settings, "HECD_LEASE_TTL": "5", **more})
        try:
            if wait:
                made.start()
            else:
                made.begin()
            for layout in images:
                done = made.hecd("image", "load", str(layout))
                assert done.code == 0, done.err
            yield made
        finally:
            made.clean()
