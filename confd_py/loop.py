"""All resources together: one store feeds many workers, and edits of confdir change which there are."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from confd_py import applied, dest
from confd_py.applied import Applied
from confd_py.apply import Applier, CommandApplier
from confd_py.confdir import Confdir, read_confdir, stamps
from confd_py.config import Config
from confd_py.errors import ConfdError, ResourceFault, StoreUnavailable, WriteFailed
from confd_py.folders import Folders
from confd_py.guard import Limits
from confd_py.haproxy.applier import HaproxyApplier
from confd_py.haproxy.content import ContentApplier, content_of
from confd_py.nginx.applier import NginxApplier
from confd_py.reloads import Reloads
from confd_py.render import Renderer
from confd_py.resource import Resource
from confd_py.store import Batch, Change, Entry, Store, difference
from confd_py.view import View
from confd_py.worker import Parts, Worker

_log = logging.getLogger("confd-py")
_READ_AGAIN_S = 1.0
_LOOK_AGAIN_S = 10.0  # at files, besides being told: a network's file system may say nothing


class Service:
    """The workers of one configuration, over one store. `reloads` of an earlier one may still be under way."""

    def __init__(
        self, config: Config, environ: Mapping[str, str], store: Store, reloads: Reloads | None = None
    ) -> None:
        self._config = config
        self._environ = environ
        self._store = store
        self._reloads = reloads or Reloads(limited=not config.onetime)
        self.listeners: list[Callable[[str, float], None]] = []  # resource, and seconds from a change to its effect
        self._templates = stamps(self._folder / "templates")
        self._resource_files = stamps(self._folder / "conf.d")
        confdir = read_confdir(config, environ)
        self.faults: tuple[ResourceFault, ...] = confdir.faults
        self._workers = {path: self._worker(resource) for path, resource in confdir.resources.items()}
        self._tasks: dict[Path, asyncio.Task[None]] = {}
        self._keys = self._wanted_keys()
        self._known: dict[str, Entry] = {}
        self._last: Batch | None = None
        self._unread = ""  # why the last poll found nothing
        self._rekeyed = asyncio.Event()

    @property
    def workers(self) -> list[Worker]:
        """One for each resource."""
        return list(self._workers.values())

    @property
    def started(self) -> bool:
        """Whether every resource had its first attempt."""
        return all(worker.attempted for worker in self.workers)

    def states(self) -> list[Applied]:
        """What is in effect, one for each resource."""
        return [worker.state for worker in self.workers]

    @property
    def trouble(self) -> str:
        """Why nothing is heard of the store now, in one line; "" while it answers."""
        return self._store.trouble or self._unread

    async def once(self) -> list[ConfdError]:
        """One attempt for each resource; what went wrong. Raises StoreUnavailable, StoreRefused."""
        if self._workers:
            self._deliver(await self._store.read(self._keys))
        await asyncio.gather(*(worker.step() for worker in self.workers))
        faults: list[ConfdError] = list(self.faults)
        for state in self.states():
            if state.error:
                faults.append(ConfdError(state.error, details=state.error_details, hint=state.hint))
        return faults

    async def forever(self) -> None:
        """Until cancelled."""
        for fault in self.faults:
            _log.error("a resource is left out: %s", fault.brief)
        async with asyncio.TaskGroup() as tasks:
            for path, worker in self._workers.items():
                self._tasks[path] = tasks.create_task(worker.run())
            tasks.create_task(self._watch_files(tasks))
            while True:
                self._rekeyed.clear()
                feeding = tasks.create_task(self._follow() if self._config.watch else self._poll())
                await self._rekeyed.wait()
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)

    def forget_memory(self) -> None:
        """An operator's order: believe the store as it is. To be called before `forever`."""
        for worker in self.workers:
            worker.forget_memory()

    # -- the store ------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        await self._store.follow(self._keys, self._deliver)

    async def _poll(self) -> None:
        """Without -watch: read all again every interval."""
        while True:
            try:
                self._deliver(await self._store.read(self._keys))
            except StoreUnavailable as err:
                if err.brief != self._unread:
                    _log.warning("the store does not answer: %s", err.brief)
                self._unread = err.brief
                await asyncio.sleep(min(_READ_AGAIN_S, self._config.interval))
            else:
                self._unread = ""
                await asyncio.sleep(self._config.interval)

    def _deliver(self, batch: Batch) -> None:
        """Hand a batch on. Another first read is told as what it changes: workers know the rest."""
        if (self._last is not None and any(change.cause == "first" for change in batch.changes)) or self._emptied(
            batch
        ):
            fresh = {change.key: change.new for change in batch.changes if change.new is not None}
            batch = replace(batch, changes=difference(self._known, fresh, "resync"))
        for change in batch.changes:
            if change.new is None:
                self._known.pop(change.key, None)
            else:
                self._known[change.key] = change.new
        self._last = batch
        for worker in self.workers:
            worker.notice(batch)

    def _emptied(self, batch: Batch) -> bool:
        """Whether a poll found nothing at all where something was."""
        return self._last is not None and not self._config.watch and not batch.changes

    def _wanted_keys(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(key for worker in self.workers for key in worker.resource.keys))

    # -- files ----------------------------------------------------------------------------------------

    @property
    def _folder(self) -> Path:
        return Path(self._config.confdir)

    async def _watch_files(self, tasks: asyncio.TaskGroup) -> None:
        """Edits of conf.d and templates take effect, and those of dest are taken back."""
        while True:
            paths = [self._folder / "conf.d", self._folder / "templates", *(w.resource.dest for w in self.workers)]
            with Folders(paths) as folders:
                watched = self.workers
                while watched == self.workers:
                    self._look(await folders.changed(_LOOK_AGAIN_S), tasks)

    def _look(self, changed: frozenset[Path] | None, tasks: asyncio.TaskGroup) -> None:
        """Look at what changed, or at everything: None."""
        dests = {worker.resource.dest for worker in self.workers}
        if changed is None or not changed <= dests:
            self._look_at_confdir(tasks)
        for worker in self.workers:
            if changed is None or worker.resource.dest in changed:
                worker.look_at_dest()

    def _look_at_confdir(self, tasks: asyncio.TaskGroup) -> None:
        fresh = stamps(self._folder / "conf.d")
        if fresh != self._resource_files:
            self._resource_files = fresh
            with contextlib.suppress(ConfdError):  # conf.d itself is gone for a moment: what runs goes on
                running = {path: worker.defined for path, worker in self._workers.items()}
                self._look_at_resources(read_confdir(self._config, self._environ, running), tasks)
        fresh = stamps(self._folder / "templates")
        if fresh != self._templates:
            self._templates = fresh
            for worker in self.workers:
                worker.template_changed()

    def _look_at_resources(self, confdir: Confdir, tasks: asyncio.TaskGroup) -> None:
        broken = {Path(fault.path) for fault in confdir.faults}
        for fault in confdir.faults:
            if fault.brief not in {known.brief for known in self.faults}:
                _log.error("a resource cannot be read, what ran goes on: %s", fault.brief)
        self.faults = confdir.faults
        for path in [path for path in self._workers if path not in confdir.resources and path not in broken]:
            _log.info("a resource is gone path=%s", path)
            self._stop(path)
        for path, resource in confdir.resources.items():
            known = self._workers.get(path)
            if known is None or known.defined != resource:
                _log.info("a resource is %s path=%s", "new" if known is None else "changed", path)
                self._stop(path)
                self._start(path, resource, tasks)

    def _stop(self, path: Path) -> None:
        if path in self._workers:
            del self._workers[path]
            self._tasks.pop(path).cancel()

    def _start(self, path: Path, resource: Resource, tasks: asyncio.TaskGroup) -> None:
        worker = self._worker(resource)
        self._workers[path] = worker
        self._tasks[path] = tasks.create_task(worker.run())
        if not all(self._store.covers(self._keys, key) for key in resource.keys):
            self._keys = self._wanted_keys()
            self._rekeyed.set()
        elif self._last is not None:
            first = (Change(key, None, entry, "first") for key, entry in sorted(self._known.items()))
            worker.notice(replace(self._last, changes=tuple(first)))

    # -- parts ----------------------------------------------------------------------------------------

    def _worker(self, resource: Resource) -> Worker:
        """A worker with everything it needs."""
        config, defined = self._config, resource
        for warning in resource.warnings:
            _log.warning("%s", warning)
        if config.onetime and resource.applied_file == Path(f"{resource.dest}.applied"):
            resource = replace(resource, applied_file=applied.file_of_one_run(resource.dest, self._environ))
        if not (config.keep_stage_file or config.noop):
            dest.sweep(resource.dest, 60.0 + resource.check_cmd_timeout_s)  # another process may check one
        view = View(resource.keys, resource.prefix, _limits(resource), self._store.covers)
        source = resource.src.lstrip("/")
        where = resource.src_at
        renderer = Renderer(self._folder / "templates", source, resource.format, view.keys, self._environ, where)
        parts = Parts(resource, view, renderer, self._applier(resource), self._store.lease_fate, config.noop)
        parts.onetime, parts.defined, parts.took_effect = config.onetime, defined, self._took_effect
        return Worker(parts)

    def _took_effect(self, resource: str, seconds: float) -> None:
        for listener in self.listeners:
            listener(resource, seconds)

    def _applier(self, resource: Resource) -> Applier:
        config = self._config
        if resource.apply == "haproxy":
            return HaproxyApplier(resource, sync_only=config.sync_only)
        if resource.apply in ("haproxy-map", "haproxy-cert"):
            return ContentApplier(resource, content_of(resource), sync_only=config.sync_only)
        if resource.apply == "nginx":
            return NginxApplier(resource, sync_only=config.sync_only, limited=not config.onetime)
        return CommandApplier(
            resource,
            self._reloads,
            sync_only=config.sync_only,
            keep_stage_file=config.keep_stage_file,
            owed=_reload_owed(resource),
        )


def _limits(resource: Resource) -> Limits:
    return Limits(resource.guard_grace_s, resource.min_servers, resource.max_shrink)


def _reload_owed(resource: Resource) -> bool:
    """Whether the last process was ended between putting the file in place and reloading."""
    before = applied.load(resource.applied_file, resource.name, str(resource.dest))
    try:
        text = dest.read(resource.dest)
    except WriteFailed:
        return before.reload_owed
    written = text is not None and before.sha256 not in ("", applied.digest(text))
    return before.reload_owed or written
