"""What Docker writes of two streams over one connection: a header of eight bytes, then so many of one stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator

STREAMS = {0: "stdout", 1: "stdout", 2: "stderr"}
HEADER_BYTES = 8


def frames(read: Callable[[int], bytes]) -> Iterator[tuple[str, bytes]]:
    """(stream, bytes) until the end. `read` gives so many bytes, or less at the end."""
    while len(head := read(HEADER_BYTES)) == HEADER_BYTES:
        yield STREAMS.get(head[0], "stdout"), read(int.from_bytes(head[4:], "big"))


class Demux:
    """The same from pieces as they come."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        self._rest += data
        while len(self._rest) >= HEADER_BYTES:
            end = HEADER_BYTES + int.from_bytes(self._rest[4:HEADER_BYTES], "big")
            if len(self._rest) < end:
                return
            frame, self._rest = self._rest[:end], self._rest[end:]
            yield STREAMS.get(frame[0], "stdout"), frame[HEADER_BYTES:]
