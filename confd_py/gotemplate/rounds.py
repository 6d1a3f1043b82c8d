"""Ends a rendering that would go on for ever: the rounds of its loops, its output and what it makes are counted."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, compress, islice, repeat
from typing import TypeVar

from confd_py.errors import TemplateFault
from confd_py.sizes import LARGEST

T = TypeVar("T")
_MOST_ROUNDS = 10_000_000
_MOST_CHARACTERS = 64 << 20
_MOST_MADE = 256 << 20  # of all values together, those that were let go included
_BATCH = 32  # pieces of output that are held before they are counted
_HINT = "Does a loop of the template go through more than it is meant to?"


class Rounds:
    """One for all loops of one renderer; `begin` starts the count of one rendering."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A rendering begins."""
        self._ticks: Iterator[bool] = chain(repeat(True, _MOST_ROUNDS), map(_spent, (None,)))
        self._left = _MOST_MADE
        self.weights: dict[int, tuple[object, int]] = {}  # of lists and maps by identity: see sizes.weight

    def stop(self) -> None:
        """Nobody waits for what is under way in another thread: its next round, wherever it is, is one too many."""
        with contextlib.suppress(TemplateFault):
            deque(self._ticks, maxlen=0)

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """The items; each takes one round, counted in C. Raises TemplateFault when none is left."""
        return compress(items, self._ticks)

    def spend(self) -> None:
        """One round outside of a loop. Raises TemplateFault."""
        if next(self._ticks, None) is None:
            raise _fault()

    def excess(self, size: int) -> str:
        """Why a value of this size, which was made just now, is one too many; "" when it is not."""
        self._left -= size
        if size > LARGEST:
            return f"more than {LARGEST >> 20} MiB"
        return "" if self._left >= 0 else f"more than {_MOST_MADE >> 20} MiB with all that was made before it"

    def joined(self, pieces: Iterable[str]) -> str:
        """The pieces in one. Raises TemplateFault for too many characters."""
        rest, left, parts = iter(pieces), _MOST_CHARACTERS, []
        while batch := list(islice(rest, _BATCH)):
            part = "".join(batch)
            parts.append(part)
            left -= len(part)
            if left < 0:
                raise TemplateFault(f"more than {_MOST_CHARACTERS >> 20} MiB of output", hint=_HINT)
        return "".join(parts)


def _spent(_: None) -> bool:
    raise _fault()


def _fault() -> TemplateFault:
    return TemplateFault(f"more than {_MOST_ROUNDS:,} rounds of its loops", hint=_HINT)
