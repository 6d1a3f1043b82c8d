"""How containers live and end: the same with each engine."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from runtime.errors import (
    ContainerExists,
    ContainerNotFound,
    ImageNotFound,
    InvalidSpec,
    RuntimeFault,
    StartFailed,
)
from runtime.host import Host
from runtime.model import ContainerSpec, Limits, State
from runtime.process import readable
from tests.contract.runtime.engines.conftest import Engine, Root
from tests.integration.runtime.conftest import IMAGE, answers, becomes, finished, run, texts


def test_created_running_exited(host: Host) -> None:
    before = time.time()
    made = host.containers.create(ContainerSpec("web", IMAGE, labels={"team": "blue"}))
    assert (made.state, made.pid, made.exit_code, made.started_at) == (State.CREATED, None, None, None)
    assert made.spec.labels == {"team": "blue"} and made.image_digest == host.images.resolve(IMAGE).digest
    running = host.containers.start("web")
    assert running.state is State.RUNNING and running.pid and os.path.exists(f"/proc/{running.pid}")
    assert running.address == made.address and "hello" in answers(running.address)
    assert running.address6 == made.address6 and "hello" in answers(running.address6)
    assert before - 1 < (running.started_at or 0) < time.time() + 1
    assert host.containers.list() == [running] == [host.containers.start("web")], "a start of what runs changes nothing"
    stopped = host.containers.stop("web", 30.0)
    assert (stopped.state, stopped.exit_code, stopped.signal, stopped.pid) == (State.EXITED, 143, "SIGTERM", None)
    assert not stopped.oom_killed and (stopped.finished_at or 0) >= before - 1


@pytest.mark.parametrize("code", [0, 3, 126])
def test_the_exit_code_is_the_commands(host: Host, code: int) -> None:
    ended = finished(host, "once", "/bin/sh", "-c", f"exit {code}")
    assert (ended.state, ended.exit_code, ended.signal, ended.oom_killed) == (State.EXITED, code, None, False)


def test_a_signal_is_told_from_a_code(host: Host) -> None:
    run(host, "web", "/bin/sleep", "60")
    host.containers.signal("web", "KILL")
    assert host.containers.wait("web", 30.0)
    ended = host.containers.inspect("web")
    assert (ended.exit_code, ended.signal, ended.oom_killed) == (137, "SIGKILL", False)
    host.containers.signal("web", "SIGTERM")  # to what has ended: no error
    with pytest.raises(InvalidSpec, match="no signal"):
        host.containers.signal("web", "SIGNONSENSE")


def test_want_of_memory_is_told_apart(host: Host, engine: Engine) -> None:
    # containerd keeps it from Docker where the control group is gone by the time that it looks: now and then.
    tries = 5 if engine.name == "docker" else 1
    told = any(_told_of_want_of_memory(host, f"greedy.{n}") for n in range(tries))
    assert told == (engine.name != "podman")  # 4.3 never learns of it with cgroups of version 1


def _told_of_want_of_memory(host: Host, name: str) -> bool:
    script = "x=0123456789abcdef; while :; do x=$x$x$x$x; done"
    ended = finished(host, name, "/bin/sh", "-c", script, limits=Limits(memory_bytes=16 << 20), within_s=30.0)
    assert (ended.exit_code, ended.signal) == (137, "SIGKILL")
    try:
        becomes(lambda: host.containers.inspect(name).oom_killed, within_s=1.0)  # Docker may hear of it after the end
    except AssertionError:
        return False
    return True


def test_stop_kills_what_does_not_listen(host: Host) -> None:
    run(host, "deaf", "/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
    becomes(lambda: texts(host, "deaf") == ["ready"])
    assert host.containers.stop("deaf", 0.2).signal == "SIGKILL"


def test_the_stop_signal_is_the_specs(host: Host) -> None:
    host.containers.create(ContainerSpec("web", IMAGE, stop_signal="SIGUSR1"))
    host.containers.start("web")
    assert host.containers.stop("web", 30.0).signal == "SIGUSR1"


def test_a_signal_right_after_the_start_is_not_lost(host: Host) -> None:
    host.containers.create(ContainerSpec("web", IMAGE))
    for _ in range(3):
        host.containers.start("web")
        assert host.containers.stop("web", 30.0).signal == "SIGTERM"


def test_without_an_init_the_command_is_process_1(host: Host) -> None:
    assert finished(host, "bare", "/bin/sh", "-c", "exit $$", init=False).exit_code == 1
    assert finished(host, "with", "/bin/sh", "-c", "exit $$").exit_code != 1


def test_the_end_rings_each_descriptor_once_it_is_known(host: Host) -> None:
    run(host, "web", "/bin/sleep", "60")
    fds = [host.containers.exit_fd("web"), host.containers.exit_fd("web")]
    assert all(fd is not None for fd in fds) and not readable(fds[0] or 0, 0.3)
    host.containers.signal("web", "KILL")
    for fd in fds:
        assert fd is not None and readable(fd, 30.0)
        os.close(fd)
    assert host.containers.inspect("web").exit_code == 137, "the code is known when it rings"
    assert host.containers.exit_fd("web") is None and host.containers.wait("web", 0.0)


def test_each_run_has_its_own_end(host: Host) -> None:
    run(host, "web", "/bin/sleep", "60")
    first = host.containers.exit_fd("web") or -1
    host.containers.stop("web", 30.0)
    host.containers.start("web")
    second = host.containers.exit_fd("web") or -1
    assert readable(first, 30.0) and not readable(second, 0.3)
    host.containers.remove("web")
    assert readable(second, 30.0), "who is removed has ended, too"
    os.close(first)
    os.close(second)


def test_an_end_is_heard_of_by_who_opened_the_root_later(host: Host, root: Root) -> None:
    run(host, "web", "/bin/sleep", "60")
    other = root.open()
    fd = other.containers.exit_fd("web") or -1
    host.containers.signal("web", "KILL")
    assert readable(fd, 30.0)
    os.close(fd)
    assert [c.state for c in other.containers.list()] == [State.EXITED]
    other.close()


def test_a_start_again_keeps_address_files_and_log(host: Host) -> None:
    script = "echo run; [ -e /f ] && cat /f; echo written >/f; exit 0"
    first = finished(host, "again", "/bin/sh", "-c", script)
    host.containers.start("again")
    assert host.containers.wait("again", 30.0)
    second = host.containers.inspect("again")
    assert second.address == first.address and (second.started_at or 0) > (first.started_at or 0)
    becomes(lambda: texts(host, "again") == ["run", "run", "written"], what=lambda: str(texts(host, "again")))


def test_remove_can_be_repeated_and_kills(host: Host) -> None:
    running = run(host, "web", "/bin/sleep", "60")
    host.containers.remove("web")
    host.containers.remove("web")
    becomes(lambda: not os.path.exists(f"/proc/{running.pid}"))
    assert host.containers.list() == []


def test_unknown_names_and_images(host: Host) -> None:
    for call in (host.containers.inspect, host.containers.start, host.containers.exit_fd, host.inside.logs):
        with pytest.raises(ContainerNotFound):
            call("none.such")
    with pytest.raises(ImageNotFound):
        host.containers.create(ContainerSpec("web", "hecd/nothing:1"))
    with pytest.raises(ImageNotFound):
        host.images.pull("sha256:" + "0" * 64)
    with pytest.raises(InvalidSpec) as told:
        host.containers.create(ContainerSpec("-web", IMAGE, working_dir="relative"))
    assert len(told.value.faults) == 2, "all faults at once"


def test_a_name_is_given_once(host: Host) -> None:
    first = run(host, "web")
    with pytest.raises(ContainerExists):
        host.containers.create(ContainerSpec("web", IMAGE))
    assert host.containers.inspect("web") == first and "hello" in answers(first.address)


def test_one_name_from_many_threads_is_made_once(host: Host) -> None:
    barrier = threading.Barrier(4)

    def make(_: int) -> str:
        barrier.wait()
        try:
            host.containers.create(ContainerSpec("one", IMAGE))
        except ContainerExists:
            return "refused"
        return "made"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(make, range(4))) == ["made", "refused", "refused", "refused"]
    assert [c.name for c in host.containers.list()] == ["one"]


def test_parallel_starts_get_distinct_addresses(host: Host) -> None:
    names = [f"web.{i}" for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda name: run(host, name), names))
    assert len({c.address for c in made}) == 4
    assert all("hello" in answers(c.address) for c in made)


def test_a_refused_start_says_why(host: Host) -> None:
    host.containers.create(ContainerSpec("bad", IMAGE, command=("/bin/nonesuch",), init=False))
    with pytest.raises(StartFailed) as told:
        host.containers.start("bad")
    assert "nonesuch" in " ".join((told.value.brief, *told.value.details))
    assert host.containers.inspect("bad").state is not State.RUNNING


def test_errors_have_a_remedy(host: Host) -> None:
    with pytest.raises(RuntimeFault) as told:
        host.containers.start("none.such")
    assert told.value.brief and told.value.hint
