"""One reload of nginx, confirmed by the new generation of workers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from pathlib import Path

from confd_py.errors import NginxAway, NginxRefused
from confd_py.nginx.config import final, refusals
from confd_py.nginx.generation import end_oldest, find_master, hang_up, running_stamp, still_taking, workers_of
from confd_py.resource import NginxSettings

_log = logging.getLogger("confd-py.nginx")
_LOOK_S = 0.01


async def reload(settings: NginxSettings, stamp: str) -> None:
    """Have nginx run the file, which holds `stamp`. Raises NginxAway, NginxRefused.

    Done when the new workers answer and no old one takes a connection any more.
    """
    master = find_master(settings.pid_file)
    before = {worker.pid for worker in workers_of(master)}
    log = _LogEnd(Path(settings.error_log))
    deadline_s = time.monotonic() + settings.reload_timeout_s
    hang_up(master)
    while not (answered := await running_stamp(settings.status, master) == stamp) or still_taking(before):
        if find_master(settings.pid_file) != master:
            raise NginxAway("nginx was restarted during the reload")
        refused = refusals(log.since(), master)
        if time.monotonic() < deadline_s and not final(refused):
            await asyncio.sleep(_LOOK_S)
            continue
        if not answered:
            raise _refused(settings, refused)
        _log.warning("an old worker of nginx does not react and may still take connections stamp=%s", stamp)
        break
    ended = end_oldest(master, settings.old_generations)
    _log.info("reloaded stamp=%s ended_old_workers=%d", stamp, ended)


def _refused(settings: NginxSettings, words: tuple[str, ...]) -> NginxRefused:
    if words:
        return NginxRefused(
            "nginx could not apply the new configuration, its old workers go on",
            details=words,
            hint="The old file is back in place; the reload is tried again.",
        )
    return NginxRefused(
        f"no new workers of nginx answered at {settings.status} within {settings.reload_timeout_s:g} s",
        hint=f"Was nginx started with another file (-c)? {settings.error_log} may say more. It is tried again.",
    )


class _LogEnd:
    """What is written to a log from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._from = self._size()

    def since(self) -> str:
        size = self._size()
        start = self._from if size >= self._from else 0  # it was rotated meanwhile
        with contextlib.suppress(OSError), self._path.open("rb") as file:
            file.seek(start)
            return file.read(1 << 20).decode("utf-8", "replace")
        return ""

    def _size(self) -> int:
        with contextlib.suppress(OSError):
            return self._path.stat().st_size
        return 0
