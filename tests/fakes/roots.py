"""Directories that tests put whole machines in; what a run that was killed left there is ended by the next one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

FOLDER = Path("/var/tmp")  # on a disk, whatever /tmp is
LOCK = "test.lock"  # held while the process lives that made the root


@contextlib.contextmanager
def new_root(prefix: str) -> Iterator[Path]:
    """A new directory, removed afterwards; locked while this process lives."""
    root = Path(tempfile.mkdtemp(prefix=prefix, dir=FOLDER))
    try:
        with _locked(root, os.O_CREAT):
            yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def end_killed(prefix: str, end: Callable[[Path], object]) -> None:
    """Call `end` for each directory of `prefix` whose process was killed, and remove it."""
    for root in FOLDER.glob(f"{prefix}*"):
        with contextlib.suppress(FileNotFoundError), _locked(root) as alone:
            if alone:
                end(root)
                shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def _locked(root: Path, flags: int = 0) -> Iterator[bool]:
    fd = os.open(root / LOCK, os.O_RDWR | flags)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)
