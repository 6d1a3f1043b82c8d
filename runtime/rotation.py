"""Logs that begin a new file when they are full, and keep the last ones.

No line is lost: the shim alone writes, and goes over to the new file when it is told to; the old one stays under
another name.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from runtime import logfiles
from runtime.linux import watch_changes
from runtime.model import LogLimits
from runtime.process import readable

REOPEN = b"2 0 0\n"  # conmon's word for it
REOPENED_WITHIN_S = 1.0


def rotate(log: Path, control: Path, limits: LogLimits) -> bool:
    """Begin a new file if the current one is full; whether there is a new one.

    The shim replaces the file at `log`. It must be told once only: it would replace the new file too. So the old one
    gets its second name first, and who finds that done, after a crash, first waits for the shim.
    """
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size < limits.max_size_bytes:
            return False
        watch = watch_changes(log.parent)
        try:
            if _kept(log) and _replaced(log, watch):
                return True
            _keep(log, limits.max_files)
            return _tell(control) and _replaced(log, watch)
        finally:
            os.close(watch)
    return False


def _keep(log: Path, max_files: int) -> None:
    """Give the current file its second name, log.1, and the older ones the names after theirs."""
    if _kept(log):
        return
    for path in logfiles.older(log):
        number = int(path.suffix[1:])
        if number + 1 >= max_files:
            path.unlink()
        else:
            path.rename(log.with_name(f"{log.name}.{number + 1}"))
    log.with_name(f"{log.name}.1").hardlink_to(log)


def _kept(log: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return log.stat().st_ino == log.with_name(f"{log.name}.1").stat().st_ino
    return False


def _tell(control: Path) -> bool:
    try:
        fd = os.open(control, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # the shim has ended
        return False
    try:
        return os.write(fd, REOPEN) == len(REOPEN)
    except OSError:
        return False
    finally:
        os.close(fd)


def _replaced(log: Path, watch: int) -> bool:
    """Whether the shim goes on in another file, within a second."""
    deadline = time.monotonic() + REOPENED_WITHIN_S
    while _kept(log):
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return False
        if readable(watch, left_s):
            with contextlib.suppress(BlockingIOError):
                os.read(watch, 1 << 16)
    return True
