"""The master process of HAProxy: reloads, and what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass

from confd_py.errors import HaproxyAway

_UPTIME = re.compile(r"(\d+)d(\d+)h(\d+)m(\d+)s")
_FAILED = re.compile(r"failed: (\d+)")


@dataclass(frozen=True)
class Processes:
    """What `show proc` says: reloads since the master started, how many in a row failed, and the workers.

    `age_s` is how long the current worker runs, thus how long ago the old ones were told to leave.
    """

    master: int
    reloads: int
    failed: int
    worker: int  # 0: none
    age_s: float = 0.0
    old: tuple[int, ...] = ()


def parse_processes(text: str) -> Processes:
    """The table of `show proc`: of 2.4 (with a column more), of 2.6 (`<reloads> [failed: n]`), of 3.x."""
    reloads_at = 3 if "<relative PID>" in text else 2
    master = reloads = failed = worker = 0
    age_s, section = 0.0, ""
    old: list[int] = []
    for line in text.splitlines():
        part = line.split()
        if line.startswith("#"):
            section = line.strip("# ")
        elif len(part) > 3 and part[1] == "master":
            master, reloads = int(part[0]), int(part[reloads_at])
            found = _FAILED.search(line)
            failed = int(found[1]) if found else 0
        elif len(part) > 3 and part[1] == "worker" and section == "old workers":
            old.append(int(part[0]))
        elif len(part) > 3 and part[1] == "worker" and not worker:
            worker, age_s = int(part[0]), _seconds(part[reloads_at + 1])
    return Processes(master, reloads, failed, worker, age_s, tuple(old))


def _seconds(uptime: str) -> float:
    found = _UPTIME.match(uptime)
    days, hours, minutes, seconds = map(int, found.groups()) if found else (0, 0, 0, 0)
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


class Master:
    """Speaks to the socket that `haproxy -W -S PATH` opened. One question a connection: a reload cuts them all."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def processes(self) -> Processes:
        """Raises HaproxyAway."""
        return parse_processes(await self._ask("show proc"))

    async def reload(self) -> str:
        """Ask for a reload; what the master says to it: nothing before 2.7, its success or its words since."""
        return await self._ask("reload", timeout_s=30.0)

    async def ask_worker(self, pid: int, command: str) -> str:
        """What one worker, also an old one, answers; "" when it is gone. Raises HaproxyAway."""
        answer = await self._ask(f"@!{pid} {command}")
        return "" if "find the target" in answer else answer

    async def startup_logs(self) -> tuple[str, ...]:
        """What the last start of a worker complained about, as far as this HAProxy tells (2.7 and later)."""
        with contextlib.suppress(HaproxyAway):
            lines = (await self._ask("show startup-logs")).splitlines()
            return tuple(line for line in lines if "[ALERT]" in line or "[WARNING]" in line)[-8:]
        return ()

    async def _ask(self, command: str, timeout_s: float = 5.0) -> str:
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_unix_connection(self._path)
                try:
                    writer.write(f"{command};quit\n".encode())
                    return (await reader.read()).decode("utf-8", "replace").strip()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as err:
            raise HaproxyAway(
                f"no HAProxy master answers on {self._path}: {err or 'timed out'}",
                hint="Start HAProxy with `-W -S PATH`, and name that path as master_socket.",
            ) from err
