"""Logs of containers, as conmon writes them: `<time> <stream> <F|P> <text>`, P marking a line that goes on."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from runtime import logfiles
from runtime.linux import watch_changes
from runtime.model import LogLine

BLOCK_BYTES, READ_BYTES = 1 << 16, 1 << 20


@dataclass(frozen=True)
class Window:
    """Which lines: the last `tail` of those written from `since` to `until`. None: no bound."""

    tail: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def holds(self, line: LogLine) -> bool:
        after = self.since is None or line.timestamp >= self.since
        return after and (self.until is None or line.timestamp <= self.until)

    @property
    def timed(self) -> bool:
        return self.since is not None or self.until is not None


ALL = Window()


def read(path: Path, window: Window = ALL) -> Iterator[LogLine]:
    """The lines so far. A container that wrote nothing has none."""
    if window.tail is not None and not window.timed:
        yield from last(path, window.tail)
        return
    files = logfiles.opened(path)
    try:
        found = (line for line in joined(logfiles.whole_lines(files)) if window.holds(line))
        yield from found if window.tail is None else deque(found, maxlen=window.tail)
    finally:
        _close(files)


def last(path: Path, count: int) -> list[LogLine]:
    """The last `count` lines, read from the end."""
    files = logfiles.opened(path)
    try:
        return _last(files, count)
    finally:
        _close(files)


def follow(path: Path, window: Window, exit_fd: Callable[[], int | None]) -> Iterator[LogLine]:
    """The lines so far, then those to come, until the container has ended or `until` is over. `exit_fd` opens what
    tells the end."""
    watch = watch_changes(path.parent)
    end = exit_fd()
    files = logfiles.opened(path)
    try:
        yield from _so_far(files, window)
        if window.tail is not None:
            _close(files[:-1])
            del files[:-1]
        for line in joined(_growing(path, files, watch, end, window.until)):
            if window.until is not None and line.timestamp > window.until:
                return
            if window.holds(line):
                yield line
    finally:
        _close(files)
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


def _last(files: list[BinaryIO], count: int) -> list[LogLine]:
    most_bytes = BLOCK_BYTES
    while True:
        lines, whole = logfiles.end(files, most_bytes)
        found = list(joined(lines))
        if whole or len(found) > count:
            return found[len(found) - min(count, len(found)) :]
        most_bytes *= 4


def _so_far(files: list[BinaryIO], window: Window) -> Iterator[LogLine]:
    """What is there now, where not all of it is wanted; the last file is left standing behind it. Else nothing: then it
    is read from its start with what is to come."""
    if window.tail is None:
        return
    if not window.timed:
        yield from _last(files, window.tail)
        return
    lines, _ = logfiles.end(files, 1 << 62)
    yield from deque((line for line in joined(lines) if window.holds(line)), maxlen=window.tail)


def _growing(path: Path, files: list[BinaryIO], watch: int, end: int | None, until: datetime | None) -> Iterator[str]:
    """Lines of files that are written to, and followed by others. `files` are at the place to go on from; those that
    are read through are taken out of it."""
    rest, ended = b"", end is None
    while True:
        files.extend(() if files else logfiles.opened(path))
        following = _following(path, files)  # before reading: what is written later is read in the next round
        if files:
            block = files[0].read(READ_BYTES)
            *lines, rest = (rest + block).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
            if len(block) == READ_BYTES:
                continue
        if following:
            files.pop(0).close()
            rest = b""
        elif ended:
            return
        else:
            ended = _wait(watch, end, until)


def _following(path: Path, files: list[BinaryIO]) -> bool:
    """Whether another file goes on where the first one ends; it is the second of `files` then."""
    if len(files) == 1 and (found := logfiles.successor(path, files[0])) is not None:
        files.append(found)
    return len(files) > 1


def _wait(watch: int, end: int | None, until: datetime | None) -> bool:
    """Until the file changed, the container ended, or `until` is over; whether it is the end."""
    fds = [watch] if end is None else [watch, end]
    left_s = None if until is None else max(0.0, until.timestamp() - time.time())
    ready, _, _ = select.select(fds, [], [], left_s)
    if watch in ready:
        with contextlib.suppress(BlockingIOError):
            os.read(watch, BLOCK_BYTES)
    return end in ready or not ready


def _close(files: list[BinaryIO]) -> None:
    for file in files:
        file.close()


def _moment(when: str) -> datetime | None:
    """conmon writes nanoseconds, which Python does not read."""
    head, dot, fraction = when.partition(".")
    digits = len(fraction) - len(fraction.lstrip("0123456789"))
    try:
        return datetime.fromisoformat(f"{head}.{fraction[:digits][:6]:0<6}{fraction[digits:]}" if dot else when)
    except ValueError:
        return None
