"""What HAProxy logs of each request, heard on a datagram socket: the one place where every answer's time is told.

Its statistics have averages only, and they start anew with every reload. The log has no such gap: an old process, too,
tells of what it still finishes. docs/releases.md has what this costs, and why it is neither a stick table nor a ring.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from pathlib import Path

from registrator.agent.ports import Answered

LINE_BYTES = 512
AT_ONCE = 512  # lines, before others get their turn
QUEUE_FILE = Path("/proc/sys/net/unix/max_dgram_qlen")
QUEUE = 512  # datagrams; systemd sets the same, without it there are ten
_CUT = frozenset("SsDK")  # by the server, or as it was silent, or because it went down, or by us as it is gone
_BROKEN_OFF = frozenset("SDKIR")  # by the server, because it went down, by us, inside HAProxy, out of resources


class AnswerLog:
    """See agent.ports.Answers. `path` is where templates/haproxy has HAProxy log to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._lines: Counter[bytes] = Counter()

    def open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        _lengthen_queue()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.bind(str(self._path))
            self._path.chmod(0o666)  # HAProxy may run as another user
        except OSError:
            sock.close()
            raise
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock, self._hear)

    def take(self) -> list[Answered]:
        self._hear()
        lines, self._lines = self._lines, Counter()
        return [answered for line, count in lines.items() if (answered := parse(line, count)) is not None]

    def close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _hear(self) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(BlockingIOError):
            for _ in range(AT_ONCE):
                self._lines[self._socket.recv(LINE_BYTES)] += 1


def parse(line: bytes, count: int) -> Answered | None:
    """A line of log-format `%b %s %ST %Tw %Tc %Tr %Ta %ts`, heard `count` times; None if no backend had the request.

    With mode tcp the status is 0 and Tr and Ta are -1. The time is that from the request to the answer's first byte,
    the queue included; for one without an answer, how long it was waited for.
    """
    words = line.decode(errors="replace").split()
    if len(words) != 8 or "." not in words[0]:
        return None
    backend, server, *figures, end = words
    try:
        status, queue_ms, connect_ms, response_ms, active_ms = map(int, figures)
    except ValueError:
        return None
    http_5xx = status >= 500
    waited_ms = max(queue_ms, 0) + max(connect_ms, 0)
    unanswered_ms = active_ms if status else waited_ms
    ms = waited_ms + response_ms if response_ms >= 0 else unanswered_ms
    named = "" if server.startswith("<") else server
    error = not http_5xx and _broken_off(end, status)
    cut = (http_5xx or error) and bool(named) and end[0] in _CUT
    return Answered(backend, named, count, ms if ms >= 0 else None, http_5xx, error, cut)


def _broken_off(end: str, status: int) -> bool:
    """Whether the request ended otherwise than it should, by the server's fault; silence over TCP is none."""
    return end[0] in _BROKEN_OFF or (end[0] == "s" and (status != 0 or end[1:] != "D"))


def _lengthen_queue() -> None:
    """Let more datagrams wait than the kernel's ten, in this network namespace, where we may."""
    with contextlib.suppress(OSError, ValueError):
        if int(QUEUE_FILE.read_text()) < QUEUE:
            QUEUE_FILE.write_text(str(QUEUE))
