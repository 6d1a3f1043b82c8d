"""Probes of instances: over sockets, or by a command that the engine runs inside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from registrator.errors import EngineAway, EngineFault
from registrator.health.sockets import look
from registrator.health.verdict import Probe
from registrator.model.names import InstanceName
from registrator.model.release import Healthcheck

ExecProbe = Callable[[InstanceName, Sequence[str], float], tuple[int, str]]


class Probes:
    """See agent.ports.Prober. `exec_probe` runs a command inside an instance: (exit code, output)."""

    def __init__(self, exec_probe: ExecProbe, *, execs_at_once: int = 8) -> None:
        self._exec = exec_probe
        self._execs = asyncio.Semaphore(execs_at_once)

    async def probe(self, instance: InstanceName, address: str, check: Healthcheck) -> Probe:
        if check.kind == "none":
            return Probe(True)
        if check.kind == "exec":
            return await self._inside(instance, check)
        return await look(address, check)

    async def _inside(self, instance: InstanceName, check: Healthcheck) -> Probe:
        async with self._execs:
            try:
                code, output = await asyncio.to_thread(self._exec, instance, check.test, check.timeout_s)
            except EngineAway:
                raise
            except EngineFault as err:
                return Probe(False, f"healthcheck: {err.brief}")
        lines = output.strip().splitlines()
        return Probe(
            code == 0, "" if code == 0 else f"healthcheck exit code {code}" + (f": {lines[-1]}" if lines else "")
        )
