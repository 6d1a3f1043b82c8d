"""The certificates of a load balancer: PEM files that somebody puts into a directory, served without a reload.

HAProxy reads another directory, with copies of those that are good: a file that is damaged, expired or gone can
therefore neither fail a reload nor take away what is served.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from confd_py import dest
from confd_py.dest import Ownership
from confd_py.errors import ConfdError, HaproxyAway
from confd_py.haproxy.certificates import CertificateFile
from confd_py.haproxy.current_worker import open_current, turn_of
from confd_py.haproxy.pem import Pem, read_pem
from confd_py.haproxy.session import Session
from confd_py.resource import Place

_log = logging.getLogger("confd-py.haproxy")
_LOOK_EVERY_S = 1.0
_SECRET = Ownership(0o600)


@dataclass(frozen=True)
class Served:
    """One certificate. `names` and `ends_at` (seconds since the epoch; 0: none) are of what is served, not of what is
    at fault."""

    file: str
    names: tuple[str, ...] = ()
    ends_at: float = 0.0
    fault: str = ""


class CertificateFolder:
    """`source` is the directory to look at, `served` the one that `crt` names."""

    def __init__(self, source: Path, served: Path, places: Sequence[Place], check_interval_s: float) -> None:
        self._source, self._served = source, served
        self._places = places
        self._check_interval_s = check_interval_s
        self._read: dict[Path, tuple[tuple[int, ...], Pem | str]] = {}
        self._good: dict[str, Pem] = {}
        self._states: tuple[Served, ...] = ()
        self._refused: dict[str, str] = {}  # by a running HAProxy
        self._lock = asyncio.Lock()

    @property
    def states(self) -> tuple[dict[str, Any], ...]:
        """What is served, and what is wrong, for the applied-state file."""
        return tuple(asdict(state) for state in self._states)

    async def refresh(self) -> None:
        """Copy what is new and good. Raises nothing: what is wrong is told in `states`."""
        async with self._lock:
            await asyncio.to_thread(self._refresh, time.time())

    async def attend(self, changed: Callable[[], None]) -> None:
        """Until cancelled: follow the directory, and tell every HAProxy."""
        told, delivered, looked_s = self._states, self._good, 0.0
        while True:
            await self.refresh()
            if delivered != self._good or time.monotonic() - looked_s >= self._check_interval_s:
                delivered, looked_s = self._good, time.monotonic()
                await self._deliver()
                await self.refresh()
            if told != self._states:
                told = self._states
                changed()
            await asyncio.sleep(_LOOK_EVERY_S)

    # -- files --------------------------------------------------------------------------------------

    def _refresh(self, now: float) -> None:
        good: dict[str, Pem] = {}
        try:
            self._served.mkdir(mode=0o700, parents=True, exist_ok=True)
            files = sorted({path.name for folder in (self._source, self._served) for path in _pems(folder)})
            states = [state for name in files if (state := self._one(name, good, now)) is not None]
        except OSError as err:
            self._states = (Served("*", fault=f"{err.filename}: {err.strerror}"),)
            return  # what is served goes on
        for state in set(states) - set(self._states):
            _log.info("certificate file=%s fault=%r old_fault=%r", state.file, state.fault, self._fault_of(state.file))
        self._good, self._states = good, tuple(states)

    def _one(self, name: str, good: dict[str, Pem], now: float) -> Served | None:
        """Bring one file there, as far as it is good, and enter in `good` what is to be served."""
        offered, copy = self._look(self._source / name), self._look(self._served / name)
        served = copy if isinstance(copy, Pem) else None
        fault = offered.untimely(now) if isinstance(offered, Pem) else offered or f"it is gone from {self._source}"
        if isinstance(offered, Pem) and not fault and (served is None or served.text != offered.text):
            try:
                dest.replace_text(self._served / name, offered.text, _SECRET)
                served = offered
            except ConfdError as err:
                fault = err.brief
        if served is None or (offered is None and served.untimely(now)):  # never a file that HAProxy can't read
            (self._served / name).unlink(missing_ok=True)
            return None if offered is None else Served(name, fault=fault)
        good[name] = served
        told = f"{fault}; the one before is served on" if fault else self._refused.get(name, "")
        return Served(name, served.names, served.ends_at, told)

    def _fault_of(self, file: str) -> str:
        return next((state.fault for state in self._states if state.file == file), "")

    def _look(self, path: Path) -> Pem | str | None:
        """What is in the file, or what is wrong with it; None: there is none. Read once for each change."""
        try:
            stat = path.stat()
            mark = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            known = self._read.get(path)
            if known is None or known[0] != mark:
                self._read[path] = known = (mark, _judged(path))
            return known[1]
        except FileNotFoundError:
            self._read.pop(path, None)
            return None
        except OSError as err:
            return f"it can't be read: {err.strerror}"

    # -- processes ----------------------------------------------------------------------------------

    async def _deliver(self) -> None:
        """Every HAProxy that runs and names the directory. One that is away reads it at its start."""
        self._refused = {}
        for place in self._places:
            try:
                async with turn_of(place.socket):
                    session = await open_current(place.socket, place.master_socket)
                    try:
                        await self._bring(session)
                    finally:
                        await session.close()
            except HaproxyAway:
                continue
            except ConfdError as err:
                _log.warning("certificates not delivered socket=%s reason=%s", place.socket, err.brief)

    async def _bring(self, session: Session) -> None:
        listed = (await session.ask(f"show ssl crt-list {self._served}")).splitlines()
        if not listed or not listed[0].startswith("#"):
            return  # no port speaks TLS
        for path in {line.split(" ")[0] for line in listed[1:]} - {str(self._served / name) for name in self._good}:
            await session.run([f"del ssl crt-list {self._served} {path}", f"del ssl cert {path}"])
            _log.info("certificate taken away file=%s", path)
        for name, pem in self._good.items():
            file = CertificateFile(self._served / name, str(self._served))
            try:
                if not await file.look(session, pem.text):
                    await file.put(session, pem.text)
                    _log.info("certificate served file=%s until=%.0f", name, pem.ends_at)
            except HaproxyAway:
                raise
            except ConfdError as err:
                self._refused[name] = f"{err.brief}; it is read at the next reload"


def _pems(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if path.suffix == ".pem" and not path.name.startswith("."))


def _judged(path: Path) -> Pem | str:
    try:
        return read_pem(path)
    except ValueError as err:
        return str(err)
