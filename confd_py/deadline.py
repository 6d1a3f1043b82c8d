"""Calls that may take for ever: they hold up neither the event loop nor the end of the process."""

from __future__ import annotations

import asyncio
import functools
import signal
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future

_AGAIN_S = 0.02
_interruptible = False  # between an interruption and the end of its timer there may be another one
_begun: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


class Overdue(BaseException):
    """Not for anybody who handles failures of what is called."""


def in_time(limit_s: float, call: Callable[[], str]) -> str:
    """What `call` returns or raises; Python code in it is interrupted. Raises Overdue after `limit_s`.

    Only the main thread can be interrupted; in another one there is no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    global _interruptible
    _listen()
    _interruptible = True
    # Again and again: what is raised in a destructor, or in a callback of a weak reference, is lost there.
    signal.setitimer(signal.ITIMER_REAL, limit_s, _AGAIN_S)
    try:
        return call()
    finally:
        _interruptible = False
        signal.setitimer(signal.ITIMER_REAL, 0)


@functools.cache
def _listen() -> None:
    """Once, as this is on the way of each change."""
    signal.signal(signal.SIGALRM, _interrupt)


def hanging() -> bool:
    """Whether a call is still under way that was let go."""
    return any(thread.is_alive() for thread in _begun)


def _interrupt(*_: object) -> None:
    if _interruptible:
        raise Overdue


class Beside:
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
        _begun.add(self._last)
        async with asyncio.timeout(self._limit_s):
            return await asyncio.wrap_future(outcome)


def _call(call: Callable[[], str], outcome: Future[str]) -> None:
    if not outcome.set_running_or_notify_cancel():
        return
    try:
        outcome.set_result(call())
    except BaseException as err:
        outcome.set_exception(err)
