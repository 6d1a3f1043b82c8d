"""reload_cmd, run for all resources that name it: shared by those that change together, and never in a storm."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator

from confd_py.commands import run_shell
from confd_py.errors import Deferred

_JOIN_S = 0.005  # those that were told of the same change begin to write within this time
_WRITERS_S = 1.0  # longer is not waited for a check that another resource runs
# A reload costs the reloaded program, and leaves an old process or old workers behind: two at once, then three in four
# seconds. At one a second the third of a storm of a second would come just before its end, and a fourth after it.
RELOADS_AT_ONCE, RELOADS_PER_S = 2, 0.75


class Bucket:
    """Lets `at_once` through, then `per_s` each second."""

    def __init__(self, at_once: int, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._per_s, self._clock = at_once, per_s, clock
        self._left, self._seen_s = float(at_once), clock()

    def wait_s(self) -> float:
        """How long until the next may pass; 0: now."""
        now_s = self._clock()
        self._left = min(self._most, self._left + (now_s - self._seen_s) * self._per_s)
        self._seen_s = now_s
        return 0.0 if self._left >= 1.0 - 1e-9 else (1.0 - self._left) / self._per_s

    def take(self) -> None:
        """One passes."""
        self.wait_s()
        self._left -= 1.0


class Reloads:
    """One for all resources of a process. `limited` False runs every reload as soon as it is asked for."""

    def __init__(self, *, limited: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._limited = limited
        self._clock = clock
        self._waiting: dict[str, asyncio.Task[None]] = {}  # not begun yet: others may join
        self._running: dict[str, asyncio.Lock] = {}
        self._writers: Counter[str] = Counter()
        self._buckets: dict[str, Bucket] = {}
        self._last_s: dict[str, float] = {}

    @contextlib.contextmanager
    def writing(self, command: str) -> Iterator[None]:
        """Around the write of a file that needs `command` afterwards."""
        self._writers[command] += 1
        try:
            yield
        finally:
            self._writers[command] -= 1

    async def run(self, command: str, timeout_s: float, min_interval_s: float = 0.0) -> None:
        """Returns when a run that began after this call succeeded. Raises CommandFailed, Deferred."""
        task = self._waiting.get(command)
        if task is None:
            wait_s = self._wait_s(command, min_interval_s)
            if wait_s > 0:
                raise Deferred(wait_s)
            task = asyncio.create_task(self._run(command, timeout_s))
            task.add_done_callback(_seen)
            self._waiting[command] = task
        await asyncio.shield(task)  # one that leaves must not end what others wait for

    def _wait_s(self, command: str, min_interval_s: float) -> float:
        if not self._limited:
            return 0.0
        since = self._last_s.get(command)
        early_s = 0.0 if since is None else since + min_interval_s - self._clock()
        bucket = self._buckets.setdefault(command, Bucket(RELOADS_AT_ONCE, RELOADS_PER_S, self._clock))
        return max(early_s, bucket.wait_s())

    async def _run(self, command: str, timeout_s: float) -> None:
        async with self._running.setdefault(command, asyncio.Lock()):  # programs drop a reload that overlaps another
            try:
                deadline_s = self._clock() + _WRITERS_S
                await asyncio.sleep(_JOIN_S)
                while self._writers[command] and self._clock() < deadline_s:  # noqa: ASYNC110 bounded, and seldom
                    await asyncio.sleep(_JOIN_S)
            finally:
                del self._waiting[command]
            if command in self._buckets:
                self._buckets[command].take()
            self._last_s[command] = self._clock()
            await run_shell(command, timeout_s)


def _seen(task: asyncio.Task[None]) -> None:
    """Its failure is told to those who wait; when nobody does any more, that is no news."""
    if not task.cancelled():
        task.exception()
