"""The files of one log: the current one, and those it had before it began anew (`log.1` is the youngest of them).

Whoever reads opens all of them at once; the names go on to other files while it reads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

TRIES = 20


def older(path: Path) -> list[Path]:
    """The files before the current one, the oldest first."""
    found = [p for p in path.parent.glob(f"{path.name}.*") if p.suffix[1:].isdecimal()]
    return sorted(found, key=lambda p: -int(p.suffix[1:]))


def opened(path: Path) -> list[BinaryIO]:
    """All files, the oldest first, none twice. The caller closes them. A log that was never written has none."""
    for _ in range(TRIES):
        with ExitStack() as stack:
            found: dict[int, BinaryIO] = {}
            for place in (*older(path), path):
                with suppress(FileNotFoundError):
                    file = stack.enter_context(place.open("rb"))
                    found.setdefault(os.fstat(file.fileno()).st_ino, file)
            if list(found) == _inodes(path):  # else a rotation went on meanwhile
                stack.pop_all()
                return list(found.values())
    return []


def successor(path: Path, file: BinaryIO) -> BinaryIO | None:
    """The file that goes on where `file` ends, opened; None while it is the current one."""
    inode = os.fstat(file.fileno()).st_ino
    with suppress(FileNotFoundError):
        if path.stat().st_ino == inode:
            return None
    files = opened(path)
    inodes = [os.fstat(f.fileno()).st_ino for f in files]
    after = inodes.index(inode) + 1 if inode in inodes else 0
    chosen = files[after] if after < len(files) else None
    for other in files:
        if other is not chosen:
            other.close()
    return chosen


def end(files: list[BinaryIO], most_bytes: int) -> tuple[list[str], bool]:
    """The whole lines within the last bytes of the files, and whether these were all. The last file is left standing
    behind its last whole line."""
    parts: list[bytes] = []
    left = most_bytes
    for file in reversed(files):
        size = file.seek(0, os.SEEK_END)
        step = min(left, size)
        file.seek(size - step)
        data = file.read(step)
        if not parts:
            rest = data.rpartition(b"\n")[2]
            data = data[: len(data) - len(rest)]
            file.seek(size - len(rest))
        parts.insert(0, data)
        left -= step
        if step < size:
            first_whole = parts[0].partition(b"\n")[2]
            return _lines(b"".join([first_whole, *parts[1:]])), False
    return _lines(b"".join(parts)), True


def whole_lines(files: list[BinaryIO]) -> Iterator[str]:
    """All lines that are finished."""
    for file in files:
        for line in file:
            if line.endswith(b"\n"):
                yield line.decode(errors="replace")


def _lines(data: bytes) -> list[str]:
    return data.decode(errors="replace").split("\n")[:-1]


def _inodes(path: Path) -> list[int]:
    found: dict[int, None] = {}
    for place in (*older(path), path):
        with suppress(FileNotFoundError):
            found[place.stat().st_ino] = None
    return list(found)
