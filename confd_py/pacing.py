"""When a resource may render again: a storm makes few renders, a change that comes alone never waits."""

from __future__ import annotations

import time
from collections.abc import Callable

from confd_py.reloads import Bucket

_RELOADING = (4, 4.0)  # at once, and a second, of what takes a reload each time
_CROWDED = (3, 5.0)  # of what HAProxy is told while it runs: only renders for changes that overtake each other count


class Pacing:
    """Rations the renders of one resource, which is applied by `apply`."""

    def __init__(self, apply: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._every = apply in ("command", "nginx")
        self._bucket = Bucket(*(_RELOADING if self._every else _CROWDED), clock)
        self._crowded = False

    def changed(self, *, alone: bool) -> None:
        """Something has to be rendered; `alone`: everything before it is in effect."""
        self._crowded = self._crowded or not alone

    def wait_s(self) -> float:
        """How long until the next render may begin; 0: now."""
        return self._bucket.wait_s() if self._every or self._crowded else 0.0

    def take(self) -> None:
        """One begins."""
        if self._every or self._crowded:
            self._bucket.take()
        self._crowded = False
