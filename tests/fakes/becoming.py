"""Waiting for something to become true, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


async def becomes(what: Callable[[], bool], within_s: float = 30.0, told: Callable[[], object] = lambda: "") -> float:
    """The seconds until `what` was true; fails, saying `told`, if it is not within `within_s`."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < within_s, f"not within {within_s:g} s: {told()}"
        await asyncio.sleep(0.005)
    return time.monotonic() - begun


async def answers(what: Callable[[], Awaitable[bool]], within_s: float = 30.0) -> float:
    """As becomes, for something that has to be asked."""
    begun = time.monotonic()
    while not await what():
        assert time.monotonic() - begun < within_s, f"not within {within_s:g} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - begun
