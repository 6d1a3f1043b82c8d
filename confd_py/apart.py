"""Calls that may hang, in a thread: what hangs holds up neither the event loop nor the end of the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future


class Apart:
    """One call at a time; one that took too long is let go, and none is begun beside it."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._last: threading.Thread | None = None

    async def run(self, call: Callable[[], str]) -> str:
        """What `call` returns or raises. Raises TimeoutError after the limit, or while an earlier call hangs."""
        if self._last is not None and self._last.is_alive():
            raise TimeoutError
        outcome: Future[str] = Future()
        self._last = threading.Thread(target=_call, args=(call, outcome), daemon=True)
        self._last.start()
        async with asyncio.timeout(self._limit_s):
            return await asyncio.wrap_future(outcome)


def _call(call: Callable[[], str], outcome: Future[str]) -> None:
    if not outcome.set_running_or_notify_cancel():
        return
    try:
        outcome.set_result(call())
    except BaseException as err:
        outcome.set_exception(err)
