"""This process's stdin, stdout and stderr, tied to a command in a container."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from typing import Any

from runtime.docker.frames import Demux

BLOCK_BYTES = 1 << 16


class Terminal:
    """`resize` is told rows and columns, at the beginning and whenever they change; only with `raw`."""

    def __init__(self, wire: socket.socket, raw: bool, resize: Callable[[int, int], None]) -> None:
        self._wire = wire
        self._raw = raw
        self._resize = resize
        self._demux = Demux()

    def pass_on(self) -> None:
        """Until the command ends."""
        with self._set_up():
            sources: list[Any] = [self._wire, sys.stdin.fileno()]
            while True:
                ready, _, _ = select.select(sources, [], [])
                if self._wire in ready and not self._output(self._wire.recv(BLOCK_BYTES)):
                    return
                if sys.stdin.fileno() in ready and not self._input(os.read(sys.stdin.fileno(), BLOCK_BYTES)):
                    sources.remove(sys.stdin.fileno())

    def _output(self, data: bytes) -> bool:
        pieces = [("stdout", data)] if self._raw else list(self._demux.feed(data))
        for stream, text in pieces:
            out = sys.stderr if stream == "stderr" else sys.stdout
            out.buffer.write(text)
            out.buffer.flush()
        return data != b""

    def _input(self, data: bytes) -> bool:
        with contextlib.suppress(OSError):  # it has just ended: what it wrote is still to come
            if data:
                self._wire.sendall(data)
            else:
                self._wire.shutdown(socket.SHUT_WR)
        return data != b""

    @contextlib.contextmanager
    def _set_up(self) -> Iterator[None]:
        if not self._raw:
            yield
            return
        before = termios.tcgetattr(sys.stdin)
        own = threading.current_thread() is threading.main_thread()
        handler = signal.signal(signal.SIGWINCH, lambda *_: self._fit()) if own else None
        try:
            tty.setraw(sys.stdin)
            self._fit()
            yield
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
            if own:
                signal.signal(signal.SIGWINCH, handler)

    def _fit(self) -> None:
        size = os.get_terminal_size(sys.stdin.fileno())
        self._resize(size.lines, size.columns)
