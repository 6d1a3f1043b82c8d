"""Map files: what is in one, and how a running HAProxy is given another version of it in one step."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from confd_py.errors import HaproxyRefused
from confd_py.haproxy.session import Session

_PAYLOAD_BYTES = 8000  # of one command; HAProxy's buffer holds 16,384 with everything
_VERSION = re.compile(r"New version created: (\d+)")
Entry = tuple[str, str]  # key, value


class MapFile:
    """Content of a file that `map(FILE)` and its sisters name, by just this path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self, text: str, staged: Path) -> None:
        """Raises HaproxyRefused for a line that has no value."""
        del staged
        read_map(text, str(self._path))

    async def look(self, session: Session, text: str) -> bool | None:
        """Whether the process has the entries of `text`; None: its configuration does not name the file."""
        answer = await session.ask(f"show map {self._path}")
        if answer.startswith("Unknown map"):
            return None
        return Counter(shown(answer)) == Counter(read_map(text, str(self._path)))

    async def put(self, session: Session, text: str) -> int:
        """Replace all entries in one step, in their order; commands sent. Raises HaproxyRefused."""
        answer = await session.ask(f"prepare map {self._path}")
        found = _VERSION.search(answer)
        if found is None:
            raise HaproxyRefused(f"HAProxy takes no new version of {self._path}", details=(answer,))
        payloads = list(_payloads(read_map(text, str(self._path))))
        commands = [f"add map @{found[1]} {self._path} <<\n{payload}" for payload in payloads]
        faults = [answer for answer in await session.run(commands) if answer]
        if faults:
            await session.ask(f"clear map @{found[1]} {self._path}")
            raise HaproxyRefused(f"HAProxy did not take the entries of {self._path}", details=tuple(faults[:5]))
        await session.ask(f"commit map @{found[1]} {self._path}")
        return len(commands) + 2


def read_map(text: str, path: str) -> tuple[Entry, ...]:
    """Keys and values, in order. Raises HaproxyRefused with file and line where there is no value."""
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        key, *value = line.split(maxsplit=1)[:2] or ("#",)
        if key.startswith("#"):
            continue
        if not value:
            raise HaproxyRefused(f"{path}:{number}: the key {key!r} has no value", hint="A line is: key value.")
        entries.append((key, value[0].rstrip()))
    return tuple(entries)


def shown(answer: str) -> tuple[Entry, ...]:
    """The entries of a `show map`: `0x55… key value` each."""
    parts = (line.split(" ", 2) for line in answer.splitlines())
    return tuple((part[1], part[2].rstrip()) for part in parts if len(part) == 3)


def _payloads(entries: Iterable[Entry]) -> Iterator[str]:
    """Lines of `key value`, as many as a command may carry."""
    lines: list[str] = []
    size = 0
    for key, value in entries:
        line = f"{key} {value}\n"
        if lines and size + len(line.encode()) > _PAYLOAD_BYTES:
            yield "".join(lines)
            lines, size = [], 0
        lines.append(line)
        size += len(line.encode())
    if lines:
        yield "".join(lines)
