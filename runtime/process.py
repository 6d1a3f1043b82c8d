"""Processes that may have ended, and whose number may have been given to another one since."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import signal
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_MASKS = ("SigIgn", "SigBlk")
# Nobody has the number, or a thread has it: that is told since Linux 6.16, and before.
_NO_PROCESS = (errno.ESRCH, errno.ENOENT, errno.EINVAL)
STOP_WITHIN_S = 0.2  # a process in the kernel for long may take longer: it cannot fork there


@dataclass(frozen=True)
class Process:
    """A process by number and start time (clock ticks since boot): together they name one process of one boot."""

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this number now; None if there is none, or only a zombie."""
        ticks = _start_ticks(pid)
        return None if ticks is None else cls(pid, ticks)

    def alive(self) -> bool:
        return _start_ticks(self.pid) == self.start_ticks

    def open(self) -> int | None:
        """A new pidfd, readable once the process has ended; None if it has. The caller closes it."""
        try:
            fd = os.pidfd_open(self.pid)
        except OSError as err:
            if err.errno in _NO_PROCESS:
                return None
            raise
        if self.alive():
            return fd
        os.close(fd)
        return None

    def signal(self, number: int) -> bool:
        """Send a signal; False if the process has ended. Never hits another one with the same number."""
        fd = self.open()
        if fd is None:
            return False
        try:
            signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(fd)
        return True

    def begun(self, timeout_s: float) -> bool:
        """Whether the init (tini or catatonit), which it is or is about to be, listens to signals, at the latest after
        `timeout_s`.

        Process 1 of a container does not get a signal that it does nothing about: one that comes before it has begun
        would be lost.
        """
        deadline = time.monotonic() + timeout_s
        while self.alive() and not _listens(self.pid):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        return True

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended, at the latest after `timeout_s`."""
        fd = self.open()
        if fd is None:
            return True
        try:
            return readable(fd, timeout_s)
        finally:
            os.close(fd)


def readable(fd: int, timeout_s: float) -> bool:
    """Whether `fd` is readable, at the latest after `timeout_s`."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if math.isinf(timeout_s) else timeout_s * 1000))


def kill_tree(pid: int) -> None:
    """Kill the process and all below it. Each is stopped before its children are counted, so that none is missed."""
    found = [process] if (process := Process.of(pid)) else []
    for parent in found:
        parent.signal(signal.SIGSTOP)
        _stands_still(parent.pid)
        found.extend(child for number in _children(parent.pid) if (child := Process.of(number)))
    for process in found:
        process.signal(signal.SIGKILL)


@cache
def boot_id() -> str:
    """A word that is another one after a reboot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _listens(pid: int) -> bool:
    """Whether tini ignores terminal stops, which it does right after it blocked the signals that it passes on (while it
    waits, the kernel shows none of these as blocked), or catatonit has blocked SIGTERM."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return True
    masks = {key: int(value, 16) for key, _, value in (line.partition(":") for line in lines) if key in _MASKS}
    return bool(masks["SigIgn"] >> (signal.SIGTTIN - 1) & 1 or masks["SigBlk"] >> (signal.SIGTERM - 1) & 1)


def _stands_still(pid: int) -> None:
    """Returns once the process is stopped or gone: on another processor it may go on, and fork, after the signal."""
    deadline_s = time.monotonic() + STOP_WITHIN_S
    while time.monotonic() < deadline_s:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state in "TtZX":
            return
        time.sleep(0.0005)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.extend(int(number) for number in path.read_text().split())
    return found


def _start_ticks(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Process 1 may reap late: a zombie is dead.
    return None if fields[0] in "ZX" else int(fields[19])
