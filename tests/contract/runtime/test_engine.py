"""One suite for the port Engine: a stand-in made of plain processes, and the real OCI runtime below conmon."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtime import execute, logs
from runtime.engines import bundle, power
from runtime.engines.oci import OciEngine
from runtime.engines.user import User
from runtime.errors import StartFailed
from runtime.linux import unmount
from runtime.model import ContainerSpec, ImageConfig
from runtime.networks.kernel import drop_namespace, ensure_namespace
from runtime.paths import HostPaths
from runtime.ports import Engine
from tests.contract.runtime.shell_engine import ShellEngine


@dataclass
class Place:
    """An engine, and the directories of one container."""

    engine: Engine
    paths: HostPaths
    rootfs: Path

    def bundle(self, *argv: str) -> Path:
        spec = ContainerSpec("c", "image", command=argv)
        facts = self.engine.surroundings()
        around = bundle.Surroundings(
            rootfs=str(self.rootfs), namespace=str(self.paths.namespace("c")), cgroup=self.paths.cgroup("c"), files={},
            init="", user=User(), open_files_limit=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            swap_limited=facts.swap_limited, seccomp=None, memory_files={}, volumes={},
            capabilities=power.CAPABILITIES, devices=(), device_rules=(),
        )  # fmt: skip
        directory = self.paths.bundle("c")
        directory.mkdir(exist_ok=True)
        (directory / "config.json").write_text(json.dumps(bundle.config(spec, ImageConfig(), around)))
        return directory

    @property
    def log(self) -> Path:
        return self.paths.lib / "log"


@pytest.fixture(params=["shell", "oci"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    paths = HostPaths(tmp_path / "lib", tmp_path / "run")
    paths.make()
    rootfs = tmp_path / "rootfs"
    for part in ("bin", "proc", "sys", "dev", "etc", "tmp"):
        (rootfs / part).mkdir(parents=True)
    subprocess.run(["cp", "/bin/busybox", rootfs / "bin"], check=True)
    for name in ("sh", "sleep", "cat", "echo"):
        (rootfs / "bin" / name).symlink_to("busybox")
    ensure_namespace(paths.namespace("c"))
    engine: Engine = ShellEngine() if request.param == "shell" else OciEngine.open(paths)
    yield Place(engine, paths, rootfs)
    engine.discard("c")
    drop_namespace(paths.namespace("c"))
    unmount(str(rootfs))


def test_a_process_runs_until_its_end_which_is_written_down(place: Place) -> None:
    directory = place.bundle("/bin/sh", "-c", "echo one; echo two; sleep 0.1; exit 7")
    launched = place.engine.launch("c", directory, place.log)
    assert launched.shim.wait(30.0)
    assert launched.process.wait(0.0)
    assert (directory / "exit").read_text().strip() == "7"
    assert [x.text for x in logs.read(place.log)] == ["one", "two"]


def test_the_shim_outlasts_the_process(place: Place) -> None:
    launched = place.engine.launch("c", place.bundle("/bin/sleep", "60"), place.log)
    assert launched.process.alive() and launched.shim.alive()
    assert not (place.paths.bundle("c") / "exit").exists()
    launched.process.signal(9)
    assert launched.shim.wait(30.0)
    assert (place.paths.bundle("c") / "exit").read_text().strip() == "137"


def test_a_second_launch_goes_on_in_the_log_and_forgets_the_first_end(place: Place) -> None:
    for i in range(2):
        directory = place.bundle("/bin/echo", f"run {i}")
        assert place.engine.launch("c", directory, place.log).shim.wait(30.0)
        place.engine.discard("c")
    assert [x.text for x in logs.read(place.log)] == ["run 0", "run 1"]
    launched = place.engine.launch("c", place.bundle("/bin/sleep", "60"), place.log)
    assert not (directory / "exit").exists()
    assert launched.process.alive()


def test_discard_kills_and_can_be_repeated(place: Place) -> None:
    launched = place.engine.launch("c", place.bundle("/bin/sleep", "60"), place.log)
    place.engine.discard("c")
    assert launched.process.wait(30.0)
    place.engine.discard("c")
    place.engine.discard("never")


def test_what_cannot_start_says_so_and_leaves_nothing(place: Place) -> None:
    with pytest.raises(StartFailed, match="/nowhere"):
        place.engine.launch("c", place.bundle("/nowhere"), place.log)
    assert place.engine.launch("c", place.bundle("/bin/echo", "now"), place.log).shim.wait(30.0)


def test_no_memory_was_wanting(place: Place) -> None:
    assert place.engine.launch("c", place.bundle("/bin/echo"), place.log).shim.wait(30.0)
    assert place.engine.oom_kills(place.paths.cgroup("c")) == 0


def test_a_command_runs_inside_and_dies_at_its_deadline(place: Place) -> None:
    directory = place.bundle("/bin/sleep", "60")
    place.engine.launch("c", directory, place.log)
    process = json.loads((directory / "config.json").read_text())["process"]
    said = execute.with_argv(process, ["/bin/sh", "-c", "echo said; exit 3"])
    assert execute.probe(place.engine, "c", said, 10.0, directory) == (3, "said")
    span = str(100000 + os.getpid())  # no other run of these tests has it
    late = execute.with_argv(process, ["/bin/sh", "-c", f"sleep {span}; true"])
    assert execute.probe(place.engine, "c", late, 0.3, directory)[0] == execute.TIMED_OUT
    assert not _running(f"sleep\0{span}".encode())
    assert [e.name for e in os.scandir(directory) if e.name.startswith(".exec")] == []


def _running(words: bytes) -> bool:
    for path in (p / "cmdline" for p in Path("/proc").glob("[0-9]*")):
        try:
            if words in path.read_bytes():
                return True
        except OSError:
            continue
    return False
