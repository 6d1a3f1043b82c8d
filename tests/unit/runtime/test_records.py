"""Records on disk, locks, and processes that may be others by now."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

import pytest

from runtime.errors import ContainerNotFound
from runtime.model import (
    ContainerSpec,
    Device,
    IdMap,
    IdRange,
    Limits,
    LogLimits,
    MemoryFile,
    Mount,
    PublishedPort,
    Restart,
    Ulimit,
)
from runtime.paths import HostPaths
from runtime.process import Process, kill_tree
from runtime.state import Record, Records, Start, held, write_whole

SPEC = ContainerSpec(
    "web.7", "image", ("/e",), None, {"A": "1"}, "app", "/w", True, (Mount("tmpfs", "/t", size_bytes=5),),
    Limits(0.5, 1 << 26, 9), "SIGINT", {"l": "x"}, "host", (PublishedPort(1, 2, "udp", "1.1.1.1"),), False,
    Restart("on-failure", 3), (Ulimit("nofile", 1, 2),), {"net.core.somaxconn": "9"}, ("audio",), {"db": "1.1.1.1"},
    ("9.9.9.9",), ("example",), ("ndots:2",), (MemoryFile("/f", content="x"),), ("NET_RAW",), ("ALL",),
    (Device("/dev/a", "/dev/b", "r"),), True, "host", False, "unconfined", True, True, LogLimits(8192, 3),
)  # fmt: skip
IDS = IdMap((IdRange(0, 100000, 65536),), (IdRange(0, 200000, 65536), IdRange(65536, 900000, 9)))
RECORD = Record(SPEC, "sha256:00", ("a", "b"), "10.0.0.2", 12.5, IDS)


@pytest.fixture
def paths(tmp_path: Path) -> HostPaths:
    found = HostPaths(tmp_path / "lib", tmp_path / "run")
    found.make()
    return found


@pytest.fixture
def records(paths: HostPaths) -> Records:
    paths.container("web.7").mkdir()
    paths.bundle("web.7").mkdir()
    return Records(paths)


def test_a_container_exists_from_commit_to_retract(records: Records) -> None:
    with pytest.raises(ContainerNotFound):
        records.read("web.7")
    records.begin(RECORD)
    assert (records.exists("web.7"), records.names(), records.read_half("web.7")) == (False, [], RECORD)
    records.commit("web.7")
    assert (records.names(), records.read("web.7"), records.read_half("web.7")) == (["web.7"], RECORD, None)
    records.retract("web.7")
    records.retract("web.7")
    assert (records.names(), records.all(), records.read_half("web.7")) == ([], [], RECORD)


def test_a_record_of_an_older_version_is_read(records: Records, paths: HostPaths) -> None:
    records.begin(RECORD)
    records.commit("web.7")
    found = json.loads(paths.record("web.7").read_bytes())
    older = dict(list(found["spec"].items())[:15])
    assert list(older)[-1] == "init"
    paths.record("web.7").write_text(json.dumps({**found, "spec": older}))
    assert records.read("web.7").spec == ContainerSpec(**{k: getattr(SPEC, k) for k in older})


def test_a_start_of_another_boot_counts_no_more(records: Records, paths: HostPaths) -> None:
    start = Start(Process(1, 2), Process(3, 4), 5.0, Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    assert not records.was_started("web.7")
    records.write_start("web.7", start)
    assert records.was_started("web.7") and records.read_start("web.7") == start
    records.write_start("web.7", Start(start.process, start.shim, 5.0, "another"))
    assert records.read_start("web.7") is None


def test_a_file_is_whole_or_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "f", b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_lock_is_held_by_one_and_leaves_no_file(tmp_path: Path) -> None:
    inside, most = 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with held(tmp_path / "lock"):
                with guard:
                    inside += 1
                    most = max(most, inside)
                with guard:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert list(tmp_path.iterdir()) == []


def test_shared_holders_keep_an_exclusive_one_out(tmp_path: Path) -> None:
    with held(tmp_path / "lock", shared=True), held(tmp_path / "lock", shared=True):
        with pytest.raises(BlockingIOError), held(tmp_path / "lock", wait=False):
            pass
    with held(tmp_path / "lock", wait=False):
        pass


def test_locked_at_once_says_whether(records: Records) -> None:
    with records.locked("web.7"), records.locked_at_once("web.7") as free:
        assert not free
    with records.locked_at_once("web.7") as free:
        assert free


def test_a_process_is_known_by_more_than_its_number() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        process = Process.of(child.pid)
        assert process is not None and process.alive() and not process.wait(0.0)
        impostor = Process(process.pid, process.start_ticks + 1)
        assert not impostor.alive() and not impostor.signal(9) and impostor.open() is None
        assert child.poll() is None, "the impostor's signal must not reach it"
        assert process.signal(9)
        assert process.wait(30.0)
        assert not process.alive(), "a zombie is dead"
        assert Process.of(child.pid) is None
    assert process.wait(0.0) and not process.signal(9)


def test_a_thread_that_has_the_number_is_nobody() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        assert thread.native_id is not None and Path(f"/proc/{thread.native_id}/stat").exists()
        former = Process(thread.native_id, 1)
        assert former.open() is None and former.wait(30.0) and not former.signal(9)
    finally:
        over.set()
        thread.join()


def test_a_tree_is_killed_while_it_grows() -> None:
    script = "while :; do sleep 0.01 & (sleep 60 & sleep 60) & echo up; done"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as shell:
        assert shell.stdout is not None
        for _ in range(10):
            assert shell.stdout.readline() == b"up\n"
        kill_tree(shell.pid)
        shell.stdout.read()  # ends once nobody of the tree has it open
