"""Who runs in a host of the lab, its containers' processes too: found by namespaces and control groups, whoever started
them and whether or not anybody remembers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from registrator.errors import HecdError

GROUPS = Path("/sys/fs/cgroup")
WITHIN_S = 10.0

Find = Callable[[], set[int]]


def inside(pins: Iterable[Path], group: str) -> set[int]:
    """The processes in the network namespaces pinned at `pins`, or in control groups whose names begin with `group`."""
    inodes = {path.stat().st_ino for path in pins if os.path.ismount(path)}
    words = {f"net:[{inode}]" for inode in inodes}
    found = {pid for pid in _all() if _namespace(pid) in words} if words else set()
    for folder in groups(group):
        with suppress(OSError):
            found.update(int(word) for word in (folder / "cgroup.procs").read_text().split())
    return {pid for pid in found if _state(pid) not in "ZX"}


def groups(prefix: str) -> list[Path]:
    """The control groups whose names begin so, of all hierarchies."""
    name = prefix.lstrip("/")
    return [*GROUPS.glob(f"{name}*/"), *GROUPS.glob(f"*/{name}*/")]


def kill(find: Find) -> None:
    """SIGKILL to all that `find` finds, until it finds none. Raises HecdError where some do not end."""
    _send(find, signal.SIGKILL, lambda pid: False)


def stop(find: Find) -> None:
    """They stand still, those they start meanwhile too."""
    _send(find, signal.SIGSTOP, lambda pid: _state(pid) in "Tt")


def resume(find: Find) -> None:
    """They go on where they were."""
    for pid in find():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _send(find: Find, number: signal.Signals, done: Callable[[int], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while left := [pid for pid in find() if not done(pid)]:
        if time.monotonic() > deadline:
            raise HecdError(f"{len(left)} processes do not hear {number.name}", details=tuple(map(_line, left[:4])))
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        time.sleep(0.005)


def named(pids: Collection[int], word: str) -> set[int]:
    """Those of `pids` that have `word` on their command line."""
    return {pid for pid in pids if word in _line(pid)}


def _all() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - thousands of them


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")  # noqa: PTH115 - thousands of them
    except OSError:
        return ""


def _state(pid: int) -> str:
    """A letter, as in /proc/PID/stat; X where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def _line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
