"""Commands in running containers: short ones with a deadline, and those that a person types into."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime import console, terminal
from runtime.ports import Engine
from runtime.process import kill_tree

TIMED_OUT = 124  # as timeout(1) has it
TAIL_BYTES = 4096
_GRACE_S = 1.0


def probe(engine: Engine, name: str, process: dict[str, Any], timeout_s: float, scratch_root: Path) -> tuple[int, str]:
    """Run a command; its exit code and the end of what it wrote. At the deadline it is killed, with all it started,
    and the code is 124."""
    with _scratch(scratch_root) as scratch:
        argv = engine.exec_argv(name, process, scratch)
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert child.stdout is not None
        try:
            tail, in_time = _collect(child, child.stdout.fileno(), timeout_s)
            if not in_time:
                _kill_inside(child, scratch / "pid")
                return TIMED_OUT, f"{tail}\n(no answer within {timeout_s:g} s)".lstrip()
            return _code(child.wait()), tail
        finally:
            child.stdout.close()
            if child.poll() is None:
                child.kill()
                child.wait()


def interactive(engine: Engine, name: str, process: dict[str, Any], scratch_root: Path) -> int:
    """Run a command on this process's own stdin, stdout and stderr; its exit code."""
    with _scratch(scratch_root) as scratch:
        with subprocess.Popen(engine.exec_argv(name, process, scratch)) as child:
            try:
                return _code(child.wait())
            except BaseException:
                _kill_inside(child, scratch / "pid")
                raise


def on_terminal(engine: Engine, name: str, process: dict[str, Any], scratch_root: Path) -> int | None:
    """Run a command on a terminal of its own that is shown on ours; its exit code, None if the person detached: then it
    goes on."""
    with _scratch(scratch_root) as scratch:
        socket = scratch / "console"
        child, peer = console.run(engine.exec_argv(name, process, scratch, socket), socket)
        try:
            if peer is not None and terminal.converse(peer, terminal=True):
                peer.drain()
                return None
            return _code(child.wait())
        except BaseException:
            _kill_inside(child, scratch / "pid")
            raise
        finally:
            if peer is not None:
                peer.close()


def _collect(child: subprocess.Popen[bytes], fd: int, timeout_s: float) -> tuple[str, bool]:
    """The end of the output, and whether the child ended in time.

    The end of the child counts, not that of its output: what it left running may hold the pipe for ever.
    """
    os.set_blocking(fd, False)
    ended = os.pidfd_open(child.pid)
    deadline = time.monotonic() + timeout_s
    tail, open_ = b"", True
    try:
        while True:
            left_s = deadline - time.monotonic()
            ready, _, _ = select.select([ended, fd] if open_ else [ended], [], [], max(0.0, left_s))
            if fd in ready:
                chunk = _read(fd)
                open_ = chunk != b""
                tail = (tail + (chunk or b""))[-TAIL_BYTES:]
            elif ended in ready or left_s <= 0:
                return tail.decode(errors="replace").strip(), ended in ready
            if left_s <= 0:
                return tail.decode(errors="replace").strip(), ended in ready
    finally:
        os.close(ended)


def _read(fd: int) -> bytes | None:
    """None while there is nothing, b"" at the end."""
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return None


def _kill_inside(child: subprocess.Popen[bytes], pid_file: Path) -> None:
    """Killing the runtime's `exec` leaves the process inside alive: that one is found by its pid file."""
    deadline = time.monotonic() + _GRACE_S
    while not (inside := _pid(pid_file)) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)  # the runtime is just starting it
    if inside:
        kill_tree(inside)
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _pid(pid_file: Path) -> int:
    try:
        return int(pid_file.read_text())
    except (FileNotFoundError, ValueError):
        return 0


def _code(returncode: int) -> int:
    return 128 - returncode if returncode < 0 else returncode


@contextmanager
def _scratch(root: Path) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=".exec-", dir=root))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def with_argv(process: dict[str, Any], argv: Sequence[str], *, terminal: bool = False) -> dict[str, Any]:
    """The container's own process (user, environment, capabilities) with another command."""
    # As in Docker, a command on a terminal knows that it is on one, also where the container itself has none.
    known = [] if not terminal or any(line.startswith("TERM=") for line in process["env"]) else ["TERM=xterm"]
    return {**process, "args": list(argv), "terminal": terminal, "env": [*process["env"], *known]}
