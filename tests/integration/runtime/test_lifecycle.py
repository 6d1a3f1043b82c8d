"""Containers run, end, run again and go, with real crun and conmon."""

from __future__ import annotations

import os
import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.errors import ContainerExists, ContainerNotFound, ImageNotFound, InvalidSpec, StartFailed
from runtime.host import Host
from runtime.model import ContainerSpec, Limits, Mount, State
from tests.integration.runtime.conftest import IMAGE, Root, answers, becomes, finished, run, texts, traces

GREEDY = 'x=aaaaaaaaaaaaaaaa; while :; do x="$x$x"; done'


def test_a_container_serves_until_it_is_stopped(runtime_host: Host) -> None:
    container = run(runtime_host, "web.1")
    assert container.state is State.RUNNING
    assert container.pid is not None and Path(f"/proc/{container.pid}").exists()
    assert "hello" in answers(container.address)
    stopped = runtime_host.containers.stop("web.1", grace_s=5.0)
    assert (stopped.state, stopped.exit_code, stopped.signal) == (State.EXITED, 143, "SIGTERM")
    assert stopped.finished_at is not None and stopped.finished_at >= (stopped.started_at or 0)


@pytest.mark.parametrize("code", [0, 1, 7, 127])
def test_the_exit_code_is_the_commands(runtime_host: Host, code: int) -> None:
    container = finished(runtime_host, "c", "/bin/sh", "-c", f"exit {code}")
    assert (container.state, container.exit_code, container.signal) == (State.EXITED, code, None)
    assert not container.oom_killed


def test_a_command_that_ends_at_once_is_seen_whole(runtime_host: Host) -> None:
    for i in range(10):
        assert finished(runtime_host, f"quick.{i}", "/bin/true").exit_code == 0


def test_stop_kills_what_does_not_listen(runtime_host: Host) -> None:
    run(runtime_host, "deaf", "/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
    becomes(lambda: texts(runtime_host, "deaf") == ["ready"])
    stopped = runtime_host.containers.stop("deaf", grace_s=0.2)
    assert (stopped.exit_code, stopped.signal, stopped.oom_killed) == (137, "SIGKILL", False)


def test_a_signal_right_after_the_start_is_not_lost(runtime_host: Host) -> None:
    runtime_host.containers.create(ContainerSpec("c", IMAGE))
    for _ in range(20):
        runtime_host.containers.start("c")
        assert runtime_host.containers.stop("c", 30.0).signal == "SIGTERM"


def test_the_images_stop_signal_is_known(runtime_host: Host) -> None:
    runtime_host.containers.create(ContainerSpec("c", IMAGE, stop_signal="SIGUSR1"))
    runtime_host.containers.start("c")
    assert runtime_host.containers.stop("c", 30.0).signal == "SIGUSR1"


def test_want_of_memory_is_told_apart(runtime_host: Host) -> None:
    limits = Limits(memory_bytes=16 << 20)
    container = finished(runtime_host, "greedy", "/bin/sh", "-c", GREEDY, limits=limits, within_s=30.0)
    assert (container.exit_code, container.oom_killed) == (137, True)
    again = runtime_host.containers.start("greedy")
    assert not again.oom_killed


@pytest.mark.parametrize(
    ("script", "ending"),
    [
        ("exit 3", (3, None, False)),
        ("kill -SEGV $$", (139, "SIGSEGV", False)),
        ("kill -KILL $$", (137, "SIGKILL", False)),
        (f"sh -c '{GREEDY}'; exit 5", (5, None, True)),
        (GREEDY, (137, "SIGKILL", True)),
    ],
)
def test_how_it_ended_is_told_apart(
    runtime_host: Host, script: str, ending: tuple[int | None, str | None, bool]
) -> None:
    limits = Limits(memory_bytes=16 << 20)
    c = finished(runtime_host, "c", "/bin/sh", "-c", script, limits=limits, within_s=30.0)
    assert (c.exit_code, c.signal, c.oom_killed) == ending


def test_what_it_uses_is_counted(runtime_host: Host) -> None:
    script = (
        "x=$(busybox head -c 8000000 /dev/zero | busybox tr '\\0' x); busybox nc -l -p 80 >/dev/null; "
        "sleep 60 & sleep 60 & echo done; wait"
    )
    container = run(runtime_host, "c", "/bin/sh", "-c", script, limits=Limits(memory_bytes=64 << 20))
    assert container.pid is not None
    becomes(lambda: _sends(container.address, 100000), within_s=20.0)
    becomes(lambda: "done" in texts(runtime_host, "c"), within_s=20.0)
    used = runtime_host.containers.usage("c")
    assert used is not None
    assert 8_000_000 <= used.memory_bytes < used.memory_limit_bytes == 64 << 20
    assert used.cpu_s > 0 and used.pids == 4
    assert 100000 <= used.received_bytes < 200000 and used.sent_bytes > 0
    runtime_host.containers.stop("c", 0.0)
    assert runtime_host.containers.usage("c") is None


def test_what_it_reads_and_writes_is_counted(runtime_host: Host) -> None:
    script = (
        "busybox dd if=/dev/zero of=/file bs=1M count=3 oflag=direct 2>/dev/null; busybox dd if=/file of=/dev/null "
        "bs=1M iflag=direct 2>/dev/null; echo done; sleep 60"
    )
    run(runtime_host, "c", "/bin/sh", "-c", script)
    becomes(lambda: texts(runtime_host, "c") == ["done"])
    used = runtime_host.containers.usage("c")
    assert used is not None and used.read_bytes >= 3 << 20 and used.written_bytes >= 3 << 20


def _sends(address: str, count: int) -> bool:
    try:
        with socket.create_connection((address, 80), timeout=2.0) as connection:
            connection.sendall(b"x" * count)
    except OSError:
        return False
    return True


def test_limits_reach_the_kernel(runtime_host: Host) -> None:
    limits = Limits(cpus=0.5, memory_bytes=64 << 20, pids=7)
    run(runtime_host, "small", limits=limits)
    group = runtime_host._paths.cgroup("small").lstrip("/")
    names = ("memory.limit_in_bytes", "memory.max", "pids.max", "cpu.cfs_quota_us", "cpu.max")
    groups = [
        Path(place) for place, _, _ in os.walk("/sys/fs/cgroup") if group in Path(place).parts
    ]  # others come and go
    files = [path for path in (place / name for place in groups for name in names) if path.exists()]
    found = {path.name: path.read_text().split() for path in files}
    assert [str(64 << 20)] in found.values()
    assert found["pids.max"] == ["7"]
    assert found.get("cpu.cfs_quota_us") == ["50000"] or found.get("cpu.max") == ["50000", "100000"]


def test_a_fork_bomb_meets_its_limit(runtime_host: Host) -> None:
    bomb = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; wait"
    container = finished(runtime_host, "bomb", "/bin/sh", "-c", bomb, limits=Limits(pids=6))
    assert container.exit_code != 0
    assert "can't fork" in " ".join(texts(runtime_host, "bomb"))


def test_a_start_again_keeps_address_files_and_log(runtime_host: Host) -> None:
    script = "echo run; cat /kept 2>/dev/null; echo written >/kept; id -u"
    first = finished(runtime_host, "again", "/bin/sh", "-c", script)
    runtime_host.containers.start("again")
    assert runtime_host.containers.wait("again", 30.0)
    second = runtime_host.containers.inspect("again")
    assert second.address == first.address
    assert second.exit_code == 0
    assert (second.started_at or 0) > (first.started_at or 0)
    assert texts(runtime_host, "again") == ["run", "0", "run", "written", "0"]


def test_start_of_what_runs_changes_nothing(runtime_host: Host) -> None:
    first = run(runtime_host, "web")
    assert runtime_host.containers.start("web") == first


def test_exit_fd_tells_the_end(runtime_host: Host) -> None:
    run(runtime_host, "c", "/bin/sleep", "60")
    fds = [fd for _ in range(2) if (fd := runtime_host.containers.exit_fd("c")) is not None]
    assert len(set(fds)) == 2
    assert select.select(fds, [], [], 0.1)[0] == []
    runtime_host.containers.signal("c", "KILL")
    for fd in fds:
        assert select.select([fd], [], [], 30.0)[0] == [fd]
        os.close(fd)
    assert runtime_host.containers.inspect("c").exit_code == 137
    assert runtime_host.containers.exit_fd("c") is None


def test_a_signal_to_what_has_ended_is_no_error(runtime_host: Host) -> None:
    finished(runtime_host, "c", "/bin/true")
    runtime_host.containers.signal("c", "SIGTERM")
    with pytest.raises(InvalidSpec, match="no signal"):
        runtime_host.containers.signal("c", "SIGNONSENSE")


def test_remove_can_be_repeated_and_kills(runtime_host: Host, root: Root) -> None:
    container = run(runtime_host, "c", "/bin/sleep", "60")
    runtime_host.containers.remove("c")
    runtime_host.containers.remove("c")
    runtime_host.containers.remove("never.there")
    assert not Path(f"/proc/{container.pid}").exists() or _is_zombie(container.pid or 0)
    runtime_host.close()
    becomes(lambda: traces(root) == [])


def test_unknown_names_and_images(runtime_host: Host) -> None:
    for call in (runtime_host.containers.inspect, runtime_host.containers.start, runtime_host.containers.exit_fd):
        with pytest.raises(ContainerNotFound):
            call("nobody")
    with pytest.raises(ImageNotFound):
        runtime_host.containers.create(ContainerSpec("c", "hecd/nothing:1"))
    with pytest.raises(ImageNotFound):
        runtime_host.images.pull("sha256:" + "0" * 64)


def test_a_name_is_given_once(runtime_host: Host) -> None:
    first = run(runtime_host, "web.1")
    with pytest.raises(ContainerExists):
        runtime_host.containers.create(ContainerSpec("web.1", IMAGE))
    assert runtime_host.containers.inspect("web.1") == first, "the refused one must not harm the one that is there"
    assert "hello" in answers(first.address)


def test_parallel_creates_get_distinct_addresses(runtime_host: Host) -> None:
    names = [f"web.{i}" for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        containers = list(pool.map(lambda name: run(runtime_host, name), names))
        assert len({c.address for c in containers}) == len(names)
        assert all("hello" in text for text in pool.map(lambda c: answers(c.address), containers))
        list(pool.map(runtime_host.containers.remove, names))
    assert runtime_host.containers.list() == []


def test_one_name_from_many_threads_is_made_once(runtime_host: Host) -> None:
    barrier = threading.Barrier(6)

    def attempt(_: int) -> bool:
        barrier.wait()
        try:
            runtime_host.containers.create(ContainerSpec("one", IMAGE))
        except ContainerExists:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(attempt, range(6))) == [False] * 5 + [True]
    assert [c.state for c in runtime_host.containers.list()] == [State.CREATED]


def test_a_refused_start_says_why_and_can_be_mended(runtime_host: Host, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("from the host\n")
    spec = ContainerSpec("c", IMAGE, command=("/nowhere",), init=False, mounts=(Mount("bind", "/given", str(source)),))
    runtime_host.containers.create(spec)
    with pytest.raises(StartFailed, match="/nowhere"):
        runtime_host.containers.start("c")
    assert runtime_host.containers.inspect("c").state is State.CREATED
    runtime_host.containers.remove("c")
    runtime_host.containers.create(replace(spec, command=("/bin/cat", "/given")))
    runtime_host.containers.start("c")
    assert runtime_host.containers.wait("c", 30.0)
    assert texts(runtime_host, "c") == ["from the host"]


def test_a_missing_source_is_named_and_leaves_nothing(runtime_host: Host, root: Root) -> None:
    spec = ContainerSpec("c", IMAGE, mounts=(Mount("bind", "/x", "/does/not/exist"),))
    with pytest.raises(InvalidSpec, match="/does/not/exist"):
        runtime_host.containers.create(spec)
    runtime_host.close()
    assert traces(root) == []


def test_a_full_subnet_is_said_and_leaves_nothing(root: Root, layout: Path) -> None:
    small = replace(root, subnet=root.subnet.replace("/24", "/29"))
    host = small.open()
    host.images.load(layout)
    for i in range(5):
        host.containers.create(ContainerSpec(f"c.{i}", IMAGE))
    with pytest.raises(Exception, match="every address"):
        host.containers.create(ContainerSpec("c.6", IMAGE))
    host.containers.remove("c.2")
    assert host.containers.create(ContainerSpec("c.7", IMAGE)).address
    host.close()


def _is_zombie(pid: int) -> bool:
    return " Z " in Path(f"/proc/{pid}/stat").read_text()
