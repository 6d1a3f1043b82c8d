"""The announcer's own probes: one task for each service that asks for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from registrator.announce.ports import Prober
from registrator.announce.survey import Target
from registrator.health.verdict import Health, judge, pace_s
from registrator.model.release import Healthcheck


class Probing:
    """`ring` is called whenever a verdict changed."""

    def __init__(self, prober: Prober, ring: Callable[[], None]) -> None:
        self._prober = prober
        self._ring = ring
        self._verdicts: dict[Target, Health] = {}
        self._tasks: dict[Target, asyncio.Task[None]] = {}

    def verdict(self, target: Target) -> Health | None:
        """How it answers; None if it asks for no probe. It is probed from the next `follow` on."""
        if target.checked.check is None:
            return None
        return self._verdicts.get(target, Health("healthy" if target.checked.passing else "unknown"))

    def follow(self, targets: Collection[Target]) -> None:
        """Probe just these from now on."""
        for target in [t for t in self._tasks if t not in targets]:
            self._tasks.pop(target).cancel()
            self._verdicts.pop(target, None)
        for target in targets:
            if target.checked.check is not None and target not in self._tasks:
                self._tasks[target] = asyncio.create_task(self._probe(target, target.checked.check))

    async def _probe(self, target: Target, check: Healthcheck) -> None:
        begun = asyncio.get_running_loop().time()
        health = Health("healthy" if target.checked.passing else "unknown")
        while True:
            before, probe = health, await self._prober(target.address, check)
            age_s = asyncio.get_running_loop().time() - begun
            health = judge(before, probe, check, age_s)
            self._verdicts[target] = health
            if health.verdict != before.verdict:
                self._ring()
            await asyncio.sleep(pace_s(health, check, age_s))
