"""Runs programs as child processes: starts them again with a back-off, prefixes their lines, ends them in reverse.

A child never outlives this process (the kernel ends it when its parent dies), so that a second start finds no
strangers. Containers are not children: their shims stand apart.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence

from registrator.up.programs import Program

log = logging.getLogger(__name__)

LONGEST_BACKOFF_S = 5.0
STEADY_S = 10.0
STOP_GRACE_S = 8.0

Print = Callable[[str, str], None]  # (program, line)


class Supervisor:
    """`show` is given every line that a program writes."""

    def __init__(self, programs: Sequence[Program], show: Print) -> None:
        self._programs = programs
        self._show = show
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Start all of them and go on in the background."""
        for program in self._programs:
            self._keepers[program.name] = asyncio.create_task(self._keep(program))

    async def stop(self) -> None:
        """End all in reverse order; SIGKILL after a grace."""
        for program in reversed(self._programs):
            if (keeper := self._keepers.pop(program.name, None)) is None:
                continue
            keeper.cancel()
            await asyncio.wait([keeper])
            if (process := self._running.pop(program.name, None)) is not None:
                await _end(process)

    async def _keep(self, program: Program) -> None:
        wait_s = 0.1
        while True:
            while not all(path.exists() for path in program.after):  # noqa: ASYNC110 - files ring no bell
                await asyncio.sleep(0.02)
            started = time.monotonic()
            code = await self._run(program, program.argv)
            if program.ended:
                await self._run(program, program.ended)
            steady = time.monotonic() - started > STEADY_S
            wait_s = 0.1 if steady else min(wait_s * 2, LONGEST_BACKOFF_S)
            self._show(program.name, f"ended with {_in_words(code)}; starts again in {wait_s:.1f} s")
            await asyncio.sleep(wait_s)

    async def _run(self, program: Program, argv: Sequence[str]) -> int:
        process = await asyncio.create_subprocess_exec(
            "setpriv",
            "--pdeathsig=KILL",
            "--",
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **program.environment, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # Ctrl-C reaches this process only, which ends them in order
        )
        self._running[program.name] = process
        assert process.stdout is not None
        while line := await _line(process.stdout):
            self._show(program.name, line.decode(errors="replace").rstrip())
        return await process.wait()


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line; one that is too long for the buffer comes in pieces instead of ending everything."""
    try:
        return await stream.readline()
    except ValueError:
        return await stream.read(65536)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_GRACE_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _in_words(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
