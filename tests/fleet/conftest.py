"""A lab of five hosts that all fleet tests share, and requests through its load balancers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

HECD = str(Path(sys.executable).with_name("hecd"))
MISSING = object()


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
    root = Path(tempfile.mkdtemp(prefix="hecd-fleet-", dir="/var/tmp"))
    here = LabHere(root)
    try:
        yield here
    finally:
        try:
            here.down()
        finally:
            shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def small() -> Iterator[LabHere]:
    with rooted() as here:
        yield here
