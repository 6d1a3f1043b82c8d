"""One resource's life: read, render, apply, record, wait. Nothing it does or suffers touches another resource."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from confd_py import dest
from confd_py.applied import Applied
from confd_py.apply import Applier, ownership
from confd_py.confdir import Stamp, stamp
from confd_py.deadline import Beside, Overdue, in_time
from confd_py.errors import Away, ConfdError, Deferred, TemplateFault
from confd_py.pacing import Pacing
from confd_py.records import Records
from confd_py.render import Renderer
from confd_py.resource import Resource
from confd_py.store import Batch, LeaseFate
from confd_py.view import View

_log = logging.getLogger("confd-py")
_LONGEST_RETRY_S = 10.0
_AT_ONCE_S, _RENDER_LIMIT_S = 2.0, 10.0
_ASK_AGAIN_S = 1.0


@dataclass
class Parts:
    """What a worker works with."""

    resource: Resource
    view: View
    renderer: Renderer
    applier: Applier
    lease_fate: Callable[[int], Awaitable[LeaseFate]]
    noop: bool = False
    onetime: bool = False
    defined: Resource | None = None  # as its file says, before this run's own settings
    took_effect: Callable[[str, float], None] = lambda resource, seconds: None  # called with the time a change took


class Worker:
    """Applied is not tried: a text stays owed, and is tried again, until it is in effect."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.resource = parts.resource
        self.defined = parts.defined or parts.resource
        self._view = parts.view
        self.records = Records(parts.resource, parts.view, parts.applier, noop=parts.noop, onetime=parts.onetime)
        self._inbox: list[Batch] = []
        self._bell = asyncio.Event()
        self._owed = False
        self._text: str | None = None  # in effect
        self._dest_stamp: Stamp = None  # of the file when it was last in effect
        self._applying = self._tried = False
        self._doubted = self._edited = False  # told while it was being applied: the outcome does not answer it
        self._changed_s: float | None = None  # when the first change came that is not in effect
        self._pacing = Pacing(parts.resource.apply)
        self._beside = Beside(_RENDER_LIMIT_S)
        self._slow = False  # it took longer than others can wait for
        self._next_try_s: float | None = None
        self._ask_s: float | None = None
        self._settled_s = 0.0  # until then `debounce` waits for further changes

    # -- told from outside; never blocks ------------------------------------------------------------

    def notice(self, batch: Batch) -> None:
        """The store changed."""
        mine = self._view.relevant(batch)
        if mine.changes or not self._view.ready:
            self._pacing.changed(alone=self._changed_s is None)
            self._changed_s = self._changed_s or time.monotonic()
            self._inbox.append(mine)
            self._bell.set()

    @property
    def state(self) -> Applied:
        """What is in effect, and what is not, and why."""
        return self.records.state

    @property
    def attempted(self) -> bool:
        """Whether it was tried at least once."""
        return self._tried

    def again(self) -> None:
        """What was in effect may not be any more."""
        self._text, self._owed, self._next_try_s, self._doubted = None, True, None, True
        self._bell.set()

    def template_changed(self) -> None:
        """A file below templates/ did: render again, and apply what comes out if it is another text."""
        self._parts.renderer.forget()
        self._slow = False
        self._owed, self._next_try_s, self._edited = True, None, True
        self._bell.set()

    def look_at_dest(self) -> None:
        """If somebody changed or removed the file that was in effect, it is put back."""
        idle = self._text is not None and not self._applying and not self._parts.noop
        if idle and stamp(self.resource.dest) != self._dest_stamp:
            _log.warning("dest was changed by others and is put back dest=%s", self.resource.dest)
            self.again()

    def forget_memory(self) -> None:
        """What was seen earlier counts no more: the first read is believed."""
        self.records.forget_view()

    # -- the loop -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._parts.applier.attend(self.records.progress, self.again))
                while True:
                    await self._wait()
                    await self.step()
        finally:
            self.records.remember()
            await self._parts.applier.close()

    async def step(self) -> None:
        """Take what came in, and apply it if anything is owed."""
        await self._take()
        if self._owed and (self._next_try_s is None or time.monotonic() >= self._next_try_s):
            await self._attempt_soon()
        self.records.remember_if_due()

    async def _wait(self) -> None:
        now_s = time.monotonic()
        times = [self._next_try_s if self._owed else None, self._ask_s, self.records.due_s]
        waits = [at - now_s for at in times if at is not None]
        release_s = self._view.next_release_s(time.time())
        waits += [release_s] if release_s is not None else []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(waits)) if waits else None):
                await self._bell.wait()
        self._bell.clear()

    async def _take(self) -> None:
        batches, self._inbox = self._inbox, []
        for batch in batches:
            if not self._view.ready:
                remembered = self.records.load_view()
                batch = self._view.start(batch, remembered)
                self._owed = True
            fates = await self._fates(self._view.questions(batch)) if self._view.guarded else {}
            before = len(self._view.ghosts)
            self._view.take(batch, fates, time.time())
            self.records.soon_remember()
            self._owed = self._owed or bool(batch.changes)
            if batch.changes and self.resource.debounce_s:
                self._settled_s = time.monotonic() + self.resource.debounce_s
            if batch.changes and self.state.error:
                self._next_try_s = None  # it may hold now
            if len(self._view.ghosts) > before:
                _log.warning(
                    "entries vanished without an order and are kept resource=%s keys=%d",
                    self.resource.name,
                    len(self._view.ghosts),
                )
        if self._view.guarded:
            await self._ask_again()
            self._release()

    def _release(self) -> None:
        """Let go of what was kept long enough."""
        spared = self._view.spared
        gone = self._view.release(time.time())
        if self._view.spared - spared:
            _log.error(
                "too many entries would go with their leases and are kept resource=%s keys=%d",
                self.resource.name,
                len(self._view.spared),
            )
        if gone:
            _log.info("kept entries were let go resource=%s keys=%s", self.resource.name, ",".join(gone[:5]))
            self._owed, self._next_try_s = True, None

    async def _ask_again(self) -> None:
        leases = self._view.undecided()
        self._ask_s = time.monotonic() + _ASK_AGAIN_S if leases else None
        if leases and self._view.settle(await self._fates(leases), time.time()):
            self._owed = True

    async def _fates(self, leases: set[int]) -> dict[int, LeaseFate]:
        order = sorted(leases)
        fates = await asyncio.gather(*map(self._parts.lease_fate, order)) if order else []
        return dict(zip(order, fates, strict=True))

    async def _attempt_soon(self) -> None:
        """At once, or a little later when changes come in a storm: the last of them counts."""
        wait_s = max(0.0 if self._parts.onetime else self._pacing.wait_s(), self._unsettled_s())
        if wait_s > 0:
            self._next_try_s = time.monotonic() + wait_s
            return
        self._pacing.take()
        self._applying = self._tried = True
        try:
            await self._attempt()
        finally:
            self._applying = False

    def _unsettled_s(self) -> float:
        """How long `debounce` asks to wait for further changes, at most ten times if they never end."""
        if self._parts.onetime or self._changed_s is None:
            return 0.0
        latest_s = self._changed_s + 10 * self.resource.debounce_s
        return max(0.0, min(self._settled_s, latest_s) - time.monotonic())

    async def _attempt(self) -> None:
        """Render and apply once; every outcome is recorded."""
        revision = self._view.revision
        self.records.looked_at(revision)
        self._doubted = self._edited = False
        try:
            text = await self._render()
            self.records.rendered()
            if text != self._text:
                await self._apply(text)
        except ConfdError as err:
            self._failed(err)
        except Exception as err:  # one resource's bug must not stop the others
            _log.exception("unexpected failure resource=%s", self.resource.name)
            self._failed(ConfdError(f"unexpected {type(err).__name__}: {err}", hint="Please report this."))
        else:
            self._succeeded(text, revision)

    async def _render(self) -> str:
        """At once; in a thread where name servers are asked, which may not answer, and what took too long before."""
        renderer = self._parts.renderer
        if not renderer.asks_network and not self._slow:
            try:
                return in_time(_AT_ONCE_S, renderer.render)
            except Overdue:
                self._slow = True
        try:
            return await self._beside.run(renderer.render)
        except TimeoutError as err:
            renderer.give_up()
            fault = f"{self.resource.src}: rendering took longer than {_RENDER_LIMIT_S:g} s"
            hint = "Does it loop for long, or ask name servers (lookup…) that do not answer?"
            raise TemplateFault(fault, hint=hint) from err

    async def _apply(self, text: str) -> None:
        self._text = None
        if not self._parts.noop:
            await self._parts.applier.apply(text)
        elif not self._fits(text):
            _log.warning("target config out of sync, noop is set dest=%s", self.resource.dest)
        self._text = None if self._doubted else text

    def _succeeded(self, text: str, revision: int) -> None:
        self._owed, self._next_try_s = self._doubted or self._edited, None
        if self._changed_s is not None and not self._inbox:
            self._parts.took_effect(self.resource.name, time.monotonic() - self._changed_s)
            self._changed_s = None
        self._dest_stamp = stamp(self.resource.dest)
        if self._parts.noop and not self._fits(text):
            self.records.seen()
        else:
            self.records.succeeded(text, revision)

    def _fits(self, text: str) -> bool:
        return dest.fits(self.resource.dest, text, ownership(self.resource))

    def _failed(self, err: ConfdError) -> None:
        failures = self.state.failures + (not isinstance(err, Deferred))
        wait_s = retry_wait_s(err, failures, random.random())  # noqa: S311 jitter
        self._next_try_s = None if self._edited else time.monotonic() + wait_s
        self.records.failed(err, failures, wait_s)


def retry_wait_s(err: ConfdError, failures: int, jitter: float) -> float:
    """How long to wait after the n-th failure in a row; `jitter` in 0..1 spreads it by half."""
    if isinstance(err, Away | Deferred):
        return err.retry_after_s
    wait_s = min(_LONGEST_RETRY_S, err.retry_after_s * 2 ** min(failures - 1, 10))
    return float(wait_s * (0.75 + jitter / 2))
