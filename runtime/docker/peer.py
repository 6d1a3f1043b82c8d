"""The streams of a process in a container, over a connection that Docker or Podman gave up for them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from runtime.docker.frames import HEADER_BYTES

BLOCK_BYTES = 1 << 16


class DockerPeer:
    """See terminal.Peer. With `raw` there is one stream, that of a terminal. `resize` is told rows and columns."""

    def __init__(self, wire: socket.socket, raw: bool, resize: Callable[[int, int], None]) -> None:
        self._wire = wire
        self._raw = raw
        self._resize = resize
        self._head = b""
        self._to, self._left = 1, 0  # the stream of the present frame, and how much of it is to come
        wire.setblocking(False)

    def fileno(self) -> int:
        return self._wire.fileno()

    def receive(self) -> tuple[int, bytes] | None:
        try:
            return self._received()
        except BlockingIOError:
            return 1, b""
        except OSError:
            return None

    def _received(self) -> tuple[int, bytes] | None:
        """Never more than of one frame: what were kept here would wake nobody."""
        inside = self._raw or self._left
        wanted = BLOCK_BYTES if self._raw else min(self._left, BLOCK_BYTES) or HEADER_BYTES - len(self._head)
        if not (data := self._wire.recv(wanted)):
            return None
        if inside:
            self._left -= 0 if self._raw else len(data)
            return self._to, data
        self._head += data
        if len(self._head) == HEADER_BYTES:
            self._to, self._left = (2 if self._head[0] == 2 else 1), int.from_bytes(self._head[4:], "big")
            self._head = b""
        return 1, b""

    def send(self, data: bytes) -> int:
        try:
            return self._wire.send(data)
        except BlockingIOError:
            raise
        except OSError:  # it has ended; receiving will tell
            return len(data)

    def resize(self, rows: int, columns: int) -> None:
        self._resize(rows, columns)

    def close_input(self) -> None:
        with contextlib.suppress(OSError):
            self._wire.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._wire.close()
