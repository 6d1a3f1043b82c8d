"""One request that waits: a connection from HAProxy, not looked into, and later the one over which it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Waiting(asyncio.Protocol):
    """What arrives is kept, up to a measure, until `go_on`; then both sides are joined."""

    MOST_BYTES = 64 * 1024

    def __init__(self, arrived: Callable[[Waiting], None], left: Callable[[Waiting], None]) -> None:
        self._arrived = arrived
        self._left = left
        self._kept = bytearray()
        self._ended = False
        self.answered = False
        self._onward: asyncio.Transport | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._arrived(self)

    def data_received(self, data: bytes) -> None:
        if self._onward is not None:
            self._onward.write(data)
            return
        self._kept += data
        if len(self._kept) >= self.MOST_BYTES and self.transport is not None:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._ended = True
        if self._onward is not None and not self._onward.is_closing():
            self._onward.write_eof()
        return not self.answered  # else the answer may still come

    def connection_lost(self, exc: Exception | None) -> None:
        self._left(self)
        if self._onward is not None:
            self._onward.close()

    def pause_writing(self) -> None:
        if self._onward is not None:
            self._onward.pause_reading()

    def resume_writing(self) -> None:
        if self._onward is not None and not self._onward.is_closing():
            self._onward.resume_reading()

    @property
    def ended(self) -> bool:
        """Whether its client has nothing more to say; of HTTP: has left."""
        return self._ended

    def go_on(self, onward: asyncio.Transport) -> None:
        """From now on it speaks with what is at the other end of `onward`."""
        self._onward = onward
        onward.write(bytes(self._kept))
        self._kept.clear()
        if self._ended:
            onward.write_eof()
        elif self.transport is not None:
            self.transport.resume_reading()

    def give_up(self) -> None:
        """End it without an answer."""
        if self.transport is not None:
            self.transport.close()


class Onward(asyncio.Protocol):
    """The other side of one that goes on, `since` (monotonic) when; `over` once it has been answered."""

    def __init__(self, waiting: Waiting, since: float) -> None:
        self.since = since
        self.over = False
        self._waiting = waiting
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._waiting.go_on(transport)

    def data_received(self, data: bytes) -> None:
        if self._waiting.transport is not None:
            self._waiting.transport.write(data)

    def eof_received(self) -> bool:
        self.over = self._waiting.answered = True
        if self._waiting.transport is not None and not self._waiting.transport.is_closing():
            self._waiting.transport.write_eof()
        if self._waiting.ended:
            self._waiting.give_up()
        return not self._waiting.ended

    def connection_lost(self, exc: Exception | None) -> None:
        self.over = True
        self._waiting.give_up()

    def pause_writing(self) -> None:
        if self._waiting.transport is not None:
            self._waiting.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._waiting.transport is not None and not self._waiting.transport.is_closing():
            self._waiting.transport.resume_reading()
