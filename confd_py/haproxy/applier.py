"""Makes a rendered haproxy.cfg effective: by the Runtime API where only servers changed, else by one reload."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from confd_py.apply import Tally
from confd_py.errors import CommandFailed, ConfdError, Deferred, HaproxyAway, HaproxyRefused
from confd_py.haproxy.admission import Admission
from confd_py.haproxy.certificate_folder import CertificateFolder
from confd_py.haproxy.config import HaproxyConfig, parse, stamped
from confd_py.haproxy.delivery import Delivery
from confd_py.haproxy.process import Process
from confd_py.reloads import RELOADS_AT_ONCE, RELOADS_PER_S, Bucket
from confd_py.resource import Resource

_log = logging.getLogger("confd-py.haproxy")
_SETTLE_S = 0.025  # admissions that end within this are part of the apply: one report instead of two
_CALLED_AGAIN_S = 10.0  # for one that is away beside others: it is applied as soon as it answers


class HaproxyApplier:
    """One file, and every HAProxy that runs it. The file is the truth: the processes are compared with it."""

    def __init__(self, resource: Resource, *, sync_only: bool = False, reloads: Bucket | None = None) -> None:
        self._resource = resource
        self._sync_only = sync_only
        self._processes = [Process(resource, place) for place in resource.haproxy.places]
        self._certificates = _folder_of(resource)
        self._last_reload_s = -1e9
        self._reloads = reloads or Bucket(RELOADS_AT_ONCE, RELOADS_PER_S)

    @property
    def tally(self) -> Tally:
        pending = [item for p in self._processes for item in p.runtime.pending.values()]
        coming = {"/".join(item.key) for item in pending if isinstance(item, Admission)}
        going = {"/".join(item.key) for item in pending if not isinstance(item, Admission)}
        return Tally(
            sum(p.reloads for p in self._processes),
            sum(p.runtime.operations for p in self._processes),
            sum(p.drift for p in self._processes),
            tuple(sorted(coming)),
            tuple(sorted(going)),
            tuple(sorted({"/".join(key) for p in self._processes for key in p.held})),
            tuple(p.place.socket for p in self._processes if p.fault is not None),
            certificates=self._certificates.states if self._certificates else (),
        )

    async def apply(self, text: str) -> None:
        config = parse(text)
        if self._certificates is not None:
            await self._certificates.refresh()  # its directory has to be there when HAProxy reads the text
        delivery = Delivery(self._resource, config, stamped(text, config.stamp), self._may_reload_s())
        if self._sync_only:
            await delivery.write()
            return
        # One that is away is not waited for while others are there: it is knocked at beside.
        called = [p for p in self._processes if not p.away] or self._processes
        async with asyncio.TaskGroup() as tasks:
            for process in called:
                tasks.create_task(self._bring(process, delivery))
        if delivery.for_reload:
            self._reloads.take()
        if all(isinstance(p.fault, HaproxyAway) for p in self._processes):
            await delivery.write_for_start()
        if any(isinstance(p.fault, HaproxyRefused | Deferred) for p in called):
            await self._fall_back(delivery, called)
        await self._settle()
        self._report()

    async def attend(self, changed: Callable[[], None], again: Callable[[], None]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for process in self._processes:
                tasks.create_task(process.attend(changed, again))
            if self._certificates is not None:
                tasks.create_task(self._certificates.attend(changed))

    async def close(self) -> None:
        for process in self._processes:
            await process.runtime.disconnect()

    def _may_reload_s(self) -> float:
        """Since when, or from when on, the next reload may come; of time.monotonic()."""
        rested_s = self._last_reload_s + self._resource.min_reload_interval_s
        return max(rested_s, time.monotonic() + self._reloads.wait_s())

    async def _bring(self, process: Process, delivery: Delivery) -> None:
        """Bring one process there, or note why not."""
        process.fault = None
        try:
            async with process.turn:
                await self._bring_in_turn(process, delivery)
        except ConfdError as err:
            process.note(err)

    async def _bring_in_turn(self, process: Process, delivery: Delivery) -> None:
        session = await process.connect()
        old = process.wanted or delivery.old
        if process.takes_at_run_time(session, delivery.config, old):
            try:
                await self._by_runtime(process, delivery, old)
            except HaproxyRefused as err:
                words = "; ".join(err.details)
                _log.warning("the runtime API refused, reloading reason=%s words=%s", err.brief, words)
            else:
                return
        await delivery.write_for_reload()
        _log.info("reloading socket=%s reason=%s", process.place.socket, process.why_reload(session, delivery.config))
        await process.reload(delivery.config, old)
        self._last_reload_s = time.monotonic()

    async def _by_runtime(self, process: Process, delivery: Delivery, old: HaproxyConfig) -> None:
        """File and process at the same time."""
        delivery.stage()
        writing = asyncio.create_task(delivery.write())
        try:
            await process.converge(delivery.config, old)
        except BaseException:
            await asyncio.gather(writing, return_exceptions=True)
            raise
        await writing

    async def _fall_back(self, delivery: Delivery, called: Sequence[Process]) -> None:
        """What nobody took gives way to the old text; servers that the processes have follow nevertheless, at once."""
        if all(p.fault for p in called):
            await delivery.undo()
        for process in called:
            if isinstance(process.fault, HaproxyRefused | Deferred):
                with contextlib.suppress(ConfdError):
                    async with process.turn:
                        await process.keep_servers_going(delivery.config, delivery.old)

    async def _settle(self) -> None:
        """Give fast admissions the moment they need."""
        deadline_s = time.monotonic() + _SETTLE_S
        while self.tally.pending_admissions and time.monotonic() < deadline_s:
            await asyncio.sleep(0.001)
            for process in self._processes:
                if not process.fault:
                    await process.runtime.tend()

    def _report(self) -> None:
        """Raises the gravest fault, with the state of each process if there are several."""
        faults = [p.fault for p in self._processes if p.fault is not None]
        if not faults:
            return
        worst = min(faults, key=_rank)
        if len(self._processes) == 1 or isinstance(worst, Deferred):
            raise worst
        lines = tuple(f"{p.place.socket}: {p.fault.brief if p.fault else 'in step'}" for p in self._processes)
        told = type(worst)(worst.brief, details=(*lines, *worst.details), hint=worst.hint)
        if isinstance(worst, HaproxyAway) and len(faults) < len(self._processes):
            told.retry_after_s = _CALLED_AGAIN_S
        raise told


def _folder_of(resource: Resource) -> CertificateFolder | None:
    settings = resource.haproxy
    if not settings.certificates:
        return None
    folders = Path(settings.certificates), Path(settings.crt_list)
    return CertificateFolder(*folders, settings.places, settings.check_interval_s)


def _rank(fault: ConfdError) -> int:
    """What a person can mend comes first; what ends by itself last."""
    return {HaproxyRefused: 0, CommandFailed: 0, Deferred: 2, HaproxyAway: 3}.get(type(fault), 1)
