"""Directories that tests put whole machines in; what a run that was killed left there is ended by the next one."""

from __future__ import annotations

import contextlib
import fcntl
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
        with (root / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def end_killed(prefix: str, end: Callable[[Path], object]) -> None:
    """Call `end` for each directory of `prefix` whose process was killed, and remove it."""
    for root in FOLDER.glob(f"{prefix}*"):
        with contextlib.suppress(FileNotFoundError), (root / LOCK).open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # it is in use
            end(root)
            shutil.rmtree(root, ignore_errors=True)
