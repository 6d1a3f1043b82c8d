"""Logs begin new files while containers write, and nobody misses a line."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from runtime import logfiles, rotation
from runtime.host import Host
from runtime.model import LogLimits
from tests.integration.runtime.conftest import becomes, run, texts

# One number a line, alternating between the streams, as fast as it can but for a pause after each thousand.
STEP = "echo $i; i=$((i+1)); echo $i >&2; i=$((i+1)); [ $((i%1000)) = 0 ] && sleep 0.1"
COUNT = f"i=0; while [ $i -lt {{n}} ]; do {STEP}; done"


def files(host: Host, name: str) -> list[Path]:
    log = host.paths.log(name)
    return [*logfiles.older(log), log]


def rotated(host: Host, name: str, times: int) -> None:
    """Its log becomes more files than so many."""
    becomes(lambda: len(files(host, name)) > times, within_s=60.0)


# It goes on after each 4,000, which fill a file three times, when the test says so.
HOLD = "[ $((i%4000)) = 0 ] && until [ -e /go.$i ]; do sleep 0.02; done"
HELD = f"i=0; while [ $i -lt 20000 ]; do {STEP}; {HOLD}; done"


def test_no_line_is_lost_while_files_change(runtime_host: Host) -> None:
    run(runtime_host, "c", "/bin/sh", "-c", HELD, log=LogLimits(65536, 1000))
    followed: list[tuple[str, int]] = []

    def follow() -> None:
        followed.extend((line.stream, int(line.text)) for line in runtime_host.inside.follow_logs("c"))

    follower = threading.Thread(target=follow)
    follower.start()
    for step in range(1, 6):
        rotated(runtime_host, "c", step)
        assert runtime_host.inside.exec_probe("c", ["/bin/busybox", "touch", f"/go.{4000 * step}"], 30.0)[0] == 0
    assert runtime_host.containers.wait("c", 60.0)
    follower.join(30.0)
    assert not follower.is_alive()
    for lines in ([(x.stream, int(x.text)) for x in runtime_host.inside.logs("c")], followed):
        assert sorted(number for _, number in lines) == list(range(20000))
        assert [n for stream, n in lines if stream == "stdout"] == list(range(0, 20000, 2)), "and in order"
        assert [n for stream, n in lines if stream == "stderr"] == list(range(1, 20000, 2))
    assert len(files(runtime_host, "c")) > 4
    assert [int(x) for x in runtime_host.inside.tail("c", 3000)] == [n for _, n in lines][-3000:]


def test_old_files_go(runtime_host: Host) -> None:
    run(runtime_host, "c", "/bin/sh", "-c", f"{COUNT.format(n=8000)}; sleep 60", log=LogLimits(16384, 3))
    becomes(lambda: texts(runtime_host, "c")[-1:] == ["7999"], within_s=20.0)
    becomes(lambda: len(files(runtime_host, "c")) == 3 and files(runtime_host, "c")[-1].stat().st_size < 16384)
    numbers = sorted(int(x) for x in texts(runtime_host, "c"))
    assert numbers == list(range(numbers[0], 8000)) and numbers[0] > 0, "the oldest are gone, and none in between"


def test_a_crash_in_the_middle_loses_nothing(runtime_host: Host) -> None:
    """The old file has its second name, and the shim was not told yet: the next one goes on from there."""
    run(runtime_host, "c", "/bin/sh", "-c", "echo one; read x </dev/tty; sleep 60")
    becomes(lambda: "one" in texts(runtime_host, "c"))
    log, control = runtime_host.paths.log("c"), runtime_host.paths.bundle("c") / "ctl"
    log.with_name("log.1").hardlink_to(log)
    before = texts(runtime_host, "c")
    assert rotation.rotate(log, control, LogLimits(1, 3))
    assert not log.samefile(log.with_name("log.1"))
    assert texts(runtime_host, "c") == before
    assert [p.name for p in files(runtime_host, "c")] == ["log.1", "log"]


def test_a_shim_that_does_not_answer_is_told_once(runtime_host: Host) -> None:
    container = run(runtime_host, "c", "/bin/sh", "-c", "echo one; sleep 60")
    becomes(lambda: texts(runtime_host, "c") == ["one"])
    log, control = runtime_host.paths.log("c"), runtime_host.paths.bundle("c") / "ctl"
    shim = int((runtime_host.paths.bundle("c") / "conmon.pid").read_text())
    os.kill(shim, signal.SIGSTOP)
    assert not rotation.rotate(log, control, LogLimits(1, 3))
    os.kill(shim, signal.SIGCONT)
    becomes(lambda: not log.samefile(log.with_name("log.1")))
    assert texts(runtime_host, "c") == ["one"] and container.pid
    runtime_host.containers.stop("c")
    assert not rotation.rotate(log, control, LogLimits(1, 3)), "nobody is there to be told"
