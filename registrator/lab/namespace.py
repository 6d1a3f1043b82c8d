"""A network namespace pinned at a path: made, entered, dropped. (`ip netns exec` would hide /sys/fs/cgroup.)"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from registrator.errors import HecdError

CLONE_NEWNET = 0x40000000
T = TypeVar("T")


@dataclass(frozen=True)
class Namespace:
    """It lives while it is pinned or a process is inside."""

    path: Path

    @property
    def exists(self) -> bool:
        return os.path.ismount(self.path)

    @property
    def inode(self) -> int:
        """What /proc/PID/ns/net of a process inside shows."""
        return self.path.stat().st_ino

    def make(self) -> None:
        """Fine if it is there. Raises HecdError."""
        if not self.exists:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
            _run("unshare", f"--net={self.path}", "--", "true")

    def drop(self) -> None:
        """Unpin it; fine if it is gone."""
        if self.exists:
            unmount(self.path)
        self.path.unlink(missing_ok=True)

    def inside(self, work: Callable[[], T]) -> T:
        """Do it inside, in a thread of its own; what it starts is inside, too."""
        results: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                _enter(self.path)
                results.append(work())
            except BaseException as err:  # it is raised again in the caller's thread
                errors.append(err)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def command(self, argv: Sequence[str]) -> tuple[str, ...]:
        """The words that run `argv` inside, as the same process."""
        return ("nsenter", f"--net={self.path}", "--", *argv)


def unmount(path: Path) -> None:
    """Take away what is mounted there; who uses it keeps it for as long. Raises HecdError."""
    _run("umount", "--lazy", str(path))


def _enter(path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(fd, CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise HecdError(f"cannot enter the namespace {path}: {os.strerror(code)}", hint="Run as root.")
    finally:
        os.close(fd)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        raise HecdError(f"{argv[0]} failed: {done.stderr.strip()}", hint="Run as root, outside of a container.")
