"""Makes a rendered map or certificate effective: in its file, and in every running HAProxy that uses it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from confd_py import dest
from confd_py.apply import Tally, ownership
from confd_py.commands import fill, run_shell
from confd_py.errors import ConfdError, HaproxyAway, HaproxyRefused
from confd_py.haproxy.certificates import CertificateFile
from confd_py.haproxy.current_worker import open_current, turn_of
from confd_py.haproxy.maps import MapFile
from confd_py.haproxy.session import Session
from confd_py.resource import Place, Resource

_log = logging.getLogger("confd-py.haproxy")
_BESIDE_OTHERS_S = 1.0  # how soon one that is away is tried again where others are in step


class Content(Protocol):
    """What HAProxy read from a file at its start, and takes anew while it runs."""

    def check(self, text: str, staged: Path) -> None:
        """Raises HaproxyRefused if no HAProxy could read it."""
        ...

    async def look(self, session: Session, text: str) -> bool | None:
        """Whether the process has it; None: it does not use the file."""
        ...

    async def put(self, session: Session, text: str) -> int:
        """Give it to the process; commands sent. Raises HaproxyRefused."""
        ...


class ContentApplier:
    """The file is the truth: a HAProxy that starts reads it, one that runs is told, and looked at again and again."""

    def __init__(self, resource: Resource, content: Content, *, sync_only: bool = False) -> None:
        self._resource = resource
        self._content = content
        self._sync_only = sync_only
        self._places = resource.haproxy.places
        self._told: dict[Place, tuple[int, str]] = {}  # pid and text
        self._wanted: str | None = None
        self._behind: tuple[str, ...] = ()
        self._operations = 0
        self._drift = 0

    @property
    def tally(self) -> Tally:
        return Tally(runtime_ops=self._operations, drift_repairs=self._drift, behind=self._behind)

    async def apply(self, text: str) -> None:
        self._wanted = None
        await self._write(text)
        if self._sync_only:
            return
        outcomes = await asyncio.gather(*(self._bring(place, text) for place in self._places), return_exceptions=True)
        faults = [(p, err) for p, err in zip(self._places, outcomes, strict=True) if isinstance(err, BaseException)]
        self._behind = tuple(place.socket for place, _ in faults)
        for _, err in sorted(faults, key=lambda fault: isinstance(fault[1], HaproxyAway)):
            if isinstance(err, HaproxyAway) and len(faults) < len(self._places):
                err.retry_after_s = _BESIDE_OTHERS_S
            raise err  # what a person can mend comes first
        self._wanted = text

    async def attend(self, changed: Callable[[], None], again: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(self._resource.haproxy.check_interval_s)
            if (text := self._wanted) is None:
                continue
            for place in self._places:
                try:
                    repaired = await self._bring(place, text)
                except ConfdError as err:
                    _log.warning("drift could not be repaired dest=%s reason=%s", self._resource.dest, err.brief)
                    again()
                    break
                if repaired:
                    _log.warning("drift repaired dest=%s socket=%s", self._resource.dest, place.socket)
                    changed()

    async def close(self) -> None:
        return

    async def _bring(self, place: Place, text: str) -> bool:
        """Whether anything had to be done. Raises HaproxyAway, HaproxyRefused."""
        async with turn_of(place.socket):
            session = await open_current(place.socket, place.master_socket)
            try:
                found = await self._content.look(session, text)
                pid, told = self._told.get(place, (session.pid, text))
                # What a look does not show, as the order of a map, may differ where another text was told.
                if found is None or (found and (pid != session.pid or told == text)):
                    self._told[place] = (session.pid, text)
                    return False
                self._operations += await self._content.put(session, text)
                # Somebody else changed it, whoever notices: who attends, or who applies the same once more.
                self._drift += self._told.get(place) == (session.pid, text)
                if not await self._content.look(session, text):
                    raise HaproxyRefused(f"HAProxy did not take {self._resource.dest}")
                self._told[place] = (session.pid, text)
                return True
            finally:
                await session.close()

    async def _write(self, text: str) -> None:
        resource = self._resource
        if dest.fits(resource.dest, text, ownership(resource)):
            return
        staged = dest.stage(resource.dest, text, ownership(resource))
        try:
            self._content.check(text, staged)
            if resource.check_cmd:
                command = fill(resource.check_cmd, src=str(staged), dest=str(resource.dest))
                await run_shell(command, resource.check_cmd_timeout_s)
            await asyncio.to_thread(dest.swap, staged, resource.dest)
        finally:
            staged.unlink(missing_ok=True)


def content_of(resource: Resource) -> Content:
    """What `apply` of the resource says its file is."""
    if resource.apply == "haproxy-map":
        return MapFile(resource.dest)
    return CertificateFile(resource.dest, resource.haproxy.crt_list)
