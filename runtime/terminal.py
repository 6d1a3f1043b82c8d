"""A person's terminal and a container's: keys go there, what it writes comes here, and both are of one size."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import struct
import termios
import threading
import tty
from collections.abc import Iterator
from typing import Protocol

DETACH_KEYS = b"\x10\x11"  # ctrl-p ctrl-q, as in Docker
BLOCK_BYTES = 1 << 16
PENDING_BYTES = 1 << 16  # more is not read from the person before the container has taken it


class Peer(Protocol):
    """The container's end."""

    def fileno(self) -> int: ...

    def receive(self) -> tuple[int, bytes] | None:
        """What it wrote, and to which of 1 and 2; None at its end."""

    def send(self, data: bytes) -> int:
        """How many bytes it took. Raises BlockingIOError if that is none now."""

    def resize(self, rows: int, columns: int) -> None: ...

    def close_input(self) -> None:
        """Nothing comes any more."""


class Detaching:
    """Finds the keys that detach in what is typed. A beginning of them is held back until the next key."""

    def __init__(self, keys: bytes = DETACH_KEYS) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to pass on of it, and whether that is the end."""
        whole = self._held + data
        at = whole.find(self._keys)
        if at >= 0:
            return whole[:at], True
        held = next((n for n in range(len(self._keys) - 1, 0, -1) if whole.endswith(self._keys[:n])), 0)
        self._held = whole[len(whole) - held :]
        return whole[: len(whole) - held], False


def converse(peer: Peer, *, terminal: bool, typing: bool = True) -> bool:
    """Pass on until the container's end; whether the person detached before. With `terminal`, keys go there one by one
    and unchanged, and the size with them; only then can one detach. `typing`: whether stdin is passed on at all."""
    # poll and not epoll, which takes neither files nor /dev/null: stdin may be either.
    with _window_changes() as changes, _raw(terminal and typing), selectors.PollSelector() as selector:
        selector.register(peer, selectors.EVENT_READ)
        selector.register(changes, selectors.EVENT_READ)
        if typing:
            selector.register(0, selectors.EVENT_READ)
        if terminal:
            _fit(peer)
        return _Conversation(peer, selector, changes, terminal, typing).go_on()


class _Conversation:
    def __init__(
        self, peer: Peer, selector: selectors.BaseSelector, changes: int, terminal: bool, typing: bool
    ) -> None:
        self._peer = peer
        self._selector = selector
        self._changes = changes
        self._terminal = terminal
        self._detaching = Detaching()
        self._pending = b""
        self._typed_out = not typing

    def go_on(self) -> bool:
        while True:
            for key, events in self._selector.select():
                if key.fileobj is self._peer:
                    if events & selectors.EVENT_READ and not self._show():
                        return False
                    if events & selectors.EVENT_WRITE:
                        self._pass_on()
                elif key.fd == self._changes:
                    os.read(self._changes, BLOCK_BYTES)
                    if self._terminal:
                        _fit(self._peer)
                elif self._typed():
                    return True

    def _show(self) -> bool:
        found = self._peer.receive()
        if found is None:
            return False
        fd, data = found
        while data:
            data = data[os.write(fd, data) :]
        return True

    def _typed(self) -> bool:
        """Whether it was the wish to detach."""
        data = os.read(0, BLOCK_BYTES)
        detached = False
        if data and self._terminal:
            data, detached = self._detaching.feed(data)
            self._pending += data
        elif data:
            self._pending += data
        else:
            self._typed_out = True
            self._selector.unregister(0)
        self._pass_on()
        return detached

    def _pass_on(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._pending:
                self._pending = self._pending[self._peer.send(self._pending) :]
        writing = selectors.EVENT_WRITE if self._pending else 0
        self._selector.modify(self._peer, selectors.EVENT_READ | writing)
        if self._typed_out:
            if not self._pending:
                self._peer.close_input()
            return
        reading = 0 in self._selector.get_map()
        if reading and len(self._pending) > PENDING_BYTES:
            self._selector.unregister(0)
        elif not reading and len(self._pending) <= PENDING_BYTES:
            self._selector.register(0, selectors.EVENT_READ)


def window(fd: int = 1) -> tuple[int, int] | None:
    """Rows and columns; None where it is no terminal."""
    try:
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
    except OSError:
        return None
    return (rows, columns) if rows and columns else None


def resize(fd: int, rows: int, columns: int) -> None:
    """Tell a pseudo terminal its size; who reads there gets SIGWINCH."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _fit(peer: Peer) -> None:
    if (size := window(0) or window(1)) is not None:
        peer.resize(*size)


@contextlib.contextmanager
def _raw(wanted: bool) -> Iterator[None]:
    """Our terminal passes every key on as it is."""
    if not wanted or not os.isatty(0):
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _window_changes() -> Iterator[int]:
    """A descriptor that is readable after our window changed; only the main thread is told of that."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    main = threading.current_thread() is threading.main_thread()

    def changed(*_: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(writer, b"\0")

    before = signal.signal(signal.SIGWINCH, changed) if main else None
    try:
        yield reader
    finally:
        if main:
            signal.signal(signal.SIGWINCH, before)
        os.close(reader)
        os.close(writer)
