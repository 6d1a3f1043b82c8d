"""crun and runc in memory that nobody can write to, which is where they run from: a container must not change them.

They see to it themselves: each call copies the program and executes the copy, which takes as long as all else that the
call does. One that runs from a sealed copy already does not: see CVE-2019-5736, and clone_binary of either.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from pathlib import Path

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
Mark = tuple[int, int, int]


class Sealed:
    """A copy of one program for the calls of this process, made anew when the program is another one."""

    def __init__(self, program: str) -> None:
        self.program = program
        self._copy = -1
        self._mark: Mark | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Which program it is."""
        return Path(self.program).name

    @property
    def path(self) -> str:
        """What to execute, while this process lives; the program itself where it cannot be copied so."""
        with self._lock:
            mark = _mark(self.program)
            if mark != self._mark:
                self.close()
                self._copy, self._mark = _sealed(self.program), mark
            return self.program if self._copy < 0 else f"/proc/{os.getpid()}/fd/{self._copy}"

    def close(self) -> None:
        """The copy goes with the last call that runs it."""
        if self._copy >= 0:
            os.close(self._copy)
        self._copy, self._mark = -1, None


def _mark(program: str) -> Mark | None:
    with contextlib.suppress(OSError):
        found = os.stat(program)  # noqa: PTH116 on the way of each call
        return found.st_ino, found.st_size, found.st_mtime_ns
    return None


def _sealed(program: str) -> int:
    """A descriptor; -1 where this kernel has no such memory, or executes nothing there."""
    fd = -1
    try:
        fd = os.memfd_create(Path(program).name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with open(program, "rb") as file:  # noqa: PTH123
            while os.sendfile(fd, file.fileno(), None, 1 << 30):
                pass
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        if os.access(f"/proc/self/fd/{fd}", os.X_OK):
            return fd
    except OSError:
        pass
    if fd >= 0:
        os.close(fd)
    return -1
