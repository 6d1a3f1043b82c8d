"""Patience with an engine that is away: an outage of it is no fault of what it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from registrator.errors import EngineAway

log = logging.getLogger(__name__)
R = TypeVar("R")


async def asked(call: Callable[..., R], *arguments: object) -> R:
    """What a blocking `call` of the engine answers, in a thread, however long the engine is away; what runs goes on
    meanwhile. Raises EngineFault for everything else."""
    away = False
    while True:
        try:
            answer = await asyncio.to_thread(call, *arguments)
        except EngineAway as err:
            if not away:
                log.warning("engine away reason=%s hint=%s", err.brief, err.hint)
            away = True
            await asyncio.sleep(err.retry_after_s)
            continue
        if away:
            log.info("engine back")
        return answer
