"""Lines of a log from the frames of Docker or Podman. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from runtime.docker.seen import moment
from runtime.model import LogLine

LONGEST_BYTES = 1 << 16


def lines(frames: Iterable[tuple[str, bytes]]) -> Iterator[LogLine]:
    """Each frame is `<time> <text>`; a long line comes in several, of which the last alone ends with a newline."""
    halves: dict[str, tuple[datetime, bytes]] = {}
    for stream, frame in frames:
        when, _, text = frame.partition(b" ")
        at = moment(when.decode(errors="replace"))
        if at is None:
            continue
        first, before = halves.pop(stream, (datetime.fromtimestamp(at, UTC), b""))
        whole = before + text
        if whole.endswith(b"\n") or len(whole) >= LONGEST_BYTES:
            yield _line(first, stream, whole)
        else:
            halves[stream] = (first, whole)
    for stream, (first, text) in halves.items():  # what had no end of line when the container ended
        yield _line(first, stream, text)


def _line(at: datetime, stream: str, text: bytes) -> LogLine:
    return LogLine(at, stream, text.removesuffix(b"\n").decode(errors="replace"))
