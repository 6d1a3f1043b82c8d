"""What one resource's worker writes down: the applied-state file, and what was seen of the store."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace
from pathlib import Path

from confd_py import applied
from confd_py.applied import Applied
from confd_py.apply import Applier, Tally
from confd_py.errors import Away, ConfdError, Deferred, WriteFailed
from confd_py.guard import Remembered
from confd_py.resource import Resource
from confd_py.view import View

_log = logging.getLogger("confd-py")
_REMEMBER_EVERY_S, _LONG_VIEW, _REMEMBER_LONG_EVERY_S = 0.1, 500, 2.0


class Records:
    """`state` is what is in effect; every change of it is written at once. With `noop` nothing is written at all."""

    def __init__(self, resource: Resource, view: View, applier: Applier, *, noop: bool, onetime: bool) -> None:
        self._file, self._dest = resource.applied_file, resource.dest
        self._memory = Path(f"{resource.applied_file}.view")
        self._view, self._applier = view, applier
        self._noop = noop
        self._onetime = onetime  # nobody stays to tell: only what is owed is noted
        self._state = applied.load(self._file, resource.name, str(resource.dest))
        self._looked_at = self._state.wanted_revision
        self._renders = self._state.renders
        self._base = Tally(self.state.reloads, self.state.runtime_ops, self.state.drift_repairs)
        self._reached: int | None = None  # the revision that is in effect; told once nothing holds it back
        self.due_s: float | None = None  # when what was seen has to be written down
        self._remembered_s = 0.0

    # -- what is in effect --------------------------------------------------------------------------

    @property
    def state(self) -> Applied:
        """What is in effect, and what is not, and why."""
        state, wanted = self._state, self._looked_at
        return state if state.wanted_revision == wanted else replace(state, wanted_revision=wanted)

    def looked_at(self, revision: int) -> None:
        """An attempt for `revision` begins; written with its outcome."""
        self._looked_at = revision

    def rendered(self) -> None:
        """Counted; told with the outcome."""
        self._renders += 1

    def seen(self) -> None:
        """It would be another text; with `noop` that is all that happens."""
        self._write(self._without_error())

    def succeeded(self, text: str, revision: int) -> None:
        """`text` is in effect, and with it everything up to `revision`."""
        if self.state.error:
            _log.info("in effect again resource=%s old_error=%s", self.state.resource, self.state.error)
        self._reached = revision
        fresh = self._without_error()
        now, cluster = time.time(), str(self._view.cluster_id)
        digest = applied.digest(text)
        if digest != fresh.sha256 and not self._noop:
            _log.info("in effect resource=%s dest=%s revision=%d", fresh.resource, fresh.dest, revision)
        self._write(replace(fresh, sha256=digest, applied_at=now, cluster_id=cluster, epoch=self._view.epoch))

    def failed(self, err: ConfdError, failures: int, wait_s: float) -> None:
        """It is not in effect, for the n-th time in a row, and is tried again in `wait_s`."""
        if err.brief != self.state.error and not self._onetime:  # whoever asked once is told at the end
            level = logging.INFO if isinstance(err, Away | Deferred) else logging.ERROR
            words = " | ".join(err.details)
            _log.log(level, "not applied resource=%s error=%s %s", self.state.resource, err.brief, words)
        told = replace(self.state, failures=failures, next_try_at=time.time() + wait_s)
        self._write(replace(told, error=err.brief, error_details=err.details, hint=err.hint))

    def progress(self) -> None:
        """The applier's tally moved."""
        self._write(self.state)

    def _without_error(self) -> Applied:
        return replace(self.state, failures=0, next_try_at=None, error=None, error_details=(), hint="")

    def _write(self, state: Applied) -> None:
        self._state = self._with_tally(state)
        if self._noop:
            return
        if self._onetime and not self.state.reload_owed:
            self._file.unlink(missing_ok=True)
            return
        try:
            if self._file.parent != self._dest.parent:  # that one has to be there: its name may be misspelt
                self._file.parent.mkdir(parents=True, exist_ok=True)
            elif not self._dest.parent.exists():
                return
            applied.save(self._file, self.state)
        except (WriteFailed, OSError) as err:
            _log.error("the applied-state file could not be written error=%s", err)

    def _with_tally(self, state: Applied) -> Applied:
        tally, ghosts = self._applier.tally, self._view.ghosts
        reached = state.revision if tally.held_by_old_processes or self._reached is None else self._reached
        return replace(
            state,
            renders=self._renders,
            reloads=self._base.reloads + tally.reloads,
            runtime_ops=self._base.runtime_ops + tally.runtime_ops,
            drift_repairs=self._base.drift_repairs + tally.drift_repairs,
            pending_admissions=tally.pending_admissions,
            pending_removals=tally.pending_removals,
            held_by_old_processes=tally.held_by_old_processes,
            behind=tally.behind,
            revision=reached,
            ghosts=tuple({"key": k, "cause": g.cause, "since": g.since_s} for k, g in ghosts.items()),
            reload_owed=tally.reload_owed,
            doubt=applied.doubt(ghosts),
            certificates=tally.certificates,
        )

    # -- what was seen ------------------------------------------------------------------------------

    def load_view(self) -> Remembered | None:
        """What an earlier process saw."""
        return applied.load_view(self._memory)

    def forget_view(self) -> None:
        """What was seen earlier counts no more."""
        self._memory.unlink(missing_ok=True)

    def soon_remember(self) -> None:
        """Not at every change: it can be long, and only a wiped store asks for it."""
        every_s = _REMEMBER_EVERY_S if len(self._view.entries) < _LONG_VIEW else _REMEMBER_LONG_EVERY_S
        if self.due_s is None:
            self.due_s = max(time.monotonic(), self._remembered_s + every_s)

    def remember_if_due(self) -> None:
        """Write down what was seen, if it is time."""
        if self.due_s is not None and time.monotonic() >= self.due_s:
            self.remember()

    def remember(self) -> None:
        """Write down what was seen."""
        self.due_s, self._remembered_s = None, time.monotonic()
        if self._view.ready and self._view.guarded and not self._noop:
            with contextlib.suppress(WriteFailed):
                applied.save_view(self._memory, self._view.remembered())
