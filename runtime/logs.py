"""Logs of containers, as conmon writes them: `<time> <stream> <F|P> <text>`, P marking a line that goes on."""

from __future__ import annotations

import contextlib
import os
import select
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from runtime.linux import watch_changes
from runtime.model import LogLine

BLOCK_BYTES = 1 << 16


def read(path: Path, tail: int | None = None) -> Iterator[LogLine]:
    """The lines so far, or the last `tail` of them. A container that wrote nothing has none."""
    if tail is not None:
        yield from last(path, tail)
        return
    with contextlib.suppress(FileNotFoundError), path.open(errors="replace", newline="\n") as file:
        yield from joined(line for line in file if line.endswith("\n"))


def last(path: Path, count: int) -> list[LogLine]:
    """The last `count` lines, read from the end of the file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            data = b""
            while size > 0 and data.count(b"\n") <= 2 * count + 2:
                step = min(BLOCK_BYTES, size)
                size -= step
                file.seek(size)
                data = file.read(step) + data
    except FileNotFoundError:
        return []
    lines = data.decode(errors="replace").split("\n")
    whole = lines[1:-1] if size > 0 else lines[:-1]  # the first may be cut, the last is not finished
    return list(deque(joined(whole), maxlen=count))


def follow(path: Path, tail: int | None, exit_fd: Callable[[], int | None]) -> Iterator[LogLine]:
    """The lines so far, then those to come, until the container has ended. `exit_fd` opens what tells that."""
    watch = watch_changes(path.parent)
    end = exit_fd()
    try:
        yield from joined(_growing(path, tail, watch, end))
    finally:
        os.close(watch)
        if end is not None:
            os.close(end)


def joined(lines: Iterable[str]) -> Iterator[LogLine]:
    """Lines of text from lines of the file; what does not follow the form is passed over."""
    halves: dict[str, LogLine] = {}
    for line in lines:
        parts = line.rstrip("\n").split(" ", 3)
        moment = _moment(parts[0])
        if len(parts) < 4 or moment is None:
            continue
        _, stream, flag, text = parts
        before = halves.pop(stream, None)
        found = LogLine(moment, stream, (before.text if before else "") + text)
        if flag == "P" and len(found.text) < BLOCK_BYTES:
            halves[stream] = found
        else:
            yield found
    yield from halves.values()  # what had no end of line when the container ended


def _growing(path: Path, tail: int | None, watch: int, end: int | None) -> Iterator[str]:
    """Lines of a file that is written to, and may be replaced by a new one."""
    if tail is not None:
        offset = path.stat().st_size if path.exists() else 0
        yield from (f"{x.timestamp.isoformat()} {x.stream} F {x.text}" for x in last(path, tail))
    else:
        offset = 0
    file, rest, ended = None, "", end is None
    while True:
        if file is None and path.exists():
            file = path.open("rb")
            file.seek(offset)
        rest += file.read().decode(errors="replace") if file else ""
        *lines, rest = rest.split("\n")
        yield from lines
        if file is not None and _replaced(path, file.fileno()):
            file.close()
            file, offset, rest = None, 0, ""
        elif ended:
            break
        else:
            ended = _wait(watch, end)
    if file is not None:
        file.close()


def _wait(watch: int, end: int | None) -> bool:
    """Until the file changed or the container ended; whether it ended."""
    fds = [watch] if end is None else [watch, end]
    ready, _, _ = select.select(fds, [], [])
    if watch in ready:
        with contextlib.suppress(BlockingIOError):
            os.read(watch, BLOCK_BYTES)
    return end in ready


def _replaced(path: Path, fd: int) -> bool:
    try:
        return path.stat().st_ino != os.fstat(fd).st_ino
    except FileNotFoundError:
        return False


def _moment(when: str) -> datetime | None:
    """conmon writes nanoseconds, which Python does not read."""
    head, dot, fraction = when.partition(".")
    digits = len(fraction) - len(fraction.lstrip("0123456789"))
    try:
        return datetime.fromisoformat(f"{head}.{fraction[:digits][:6]:0<6}{fraction[digits:]}" if dot else when)
    except ValueError:
        return None
