"""All resources together: one store feeds many workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from confd_py import applied
from confd_py.apply import Applier, CommandApplier
from confd_py.config import Config
from confd_py.errors import ConfdError, ConfigFault, ResourceFault, StoreUnavailable
from confd_py.functions import environment_expander
from confd_py.haproxy.applier import HaproxyApplier
from confd_py.haproxy.content import ContentApplier, content_of
from confd_py.render import Renderer
from confd_py.resource import Resource, parse_resource
from confd_py.store import Batch, Change, Entry, Store
from confd_py.view import View
from confd_py.worker import Parts, Worker

_log = logging.getLogger("confd-py")
_READ_AGAIN_S = 1.0


def load_resources(config: Config, environ: Mapping[str, str]) -> tuple[list[Resource], list[ResourceFault]]:
    """All template resources below confdir, and the faults of those that cannot be used. Raises ConfigFault."""
    folder = Path(config.confdir) / "conf.d"
    if not folder.parent.exists():  # as confd: nothing to do is no failure
        _log.warning("there is no directory confdir=%s", folder.parent)
        return [], []
    if not folder.is_dir():
        raise ConfigFault(f"there is no directory {folder}", hint="Name its parent with -confdir.")
    expand = environment_expander(environ)
    resources, faults = [], []
    for path in sorted(path for path in folder.rglob("*toml") if path.is_file()):
        try:
            resources.append(parse_resource(str(path), path.read_text(), prefix=config.prefix, expand=expand))
        except ResourceFault as err:
            faults.append(err)
        except OSError as err:
            faults.append(ResourceFault(str(path), f"cannot be read: {err.strerror}"))
    return resources, faults


def build_worker(resource: Resource, config: Config, environ: Mapping[str, str], store: Store) -> Worker:
    """A worker with everything it needs."""
    if config.onetime and resource.applied_file == Path(f"{resource.dest}.applied"):
        resource = replace(resource, applied_file=applied.file_of_one_run(resource.dest, environ))
    view = View(resource.keys, resource.prefix, resource.guard_grace_s, store.covers)
    templates = Path(config.confdir) / "templates"
    renderer = Renderer(templates, resource.src.lstrip("/"), resource.format, view.keys, environ)
    parts = Parts(resource, view, renderer, _applier(resource, config), store.lease_fate, config.noop, config.onetime)
    return Worker(parts)


def _applier(resource: Resource, config: Config) -> Applier:
    if resource.apply == "haproxy":
        return HaproxyApplier(resource, sync_only=config.sync_only)
    if resource.apply in ("haproxy-map", "haproxy-cert"):
        return ContentApplier(resource, content_of(resource), sync_only=config.sync_only)
    before = applied.load(resource.applied_file, resource.name, str(resource.dest))
    return CommandApplier(
        resource, sync_only=config.sync_only, keep_stage_file=config.keep_stage_file, owed=before.reload_owed
    )


class Service:
    """The workers of one configuration, over one store."""

    def __init__(self, config: Config, environ: Mapping[str, str], store: Store) -> None:
        resources, self.faults = load_resources(config, environ)
        self._config = config
        self._store = store
        self.workers = [build_worker(resource, config, environ, store) for resource in resources]
        self._keys = tuple(dict.fromkeys(key for resource in resources for key in resource.keys))

    async def once(self) -> list[ConfdError]:
        """One attempt for each resource; what went wrong. Raises StoreUnavailable, StoreRefused."""
        self._deliver(await self._store.read(self._keys))
        for worker in self.workers:
            await worker.step()
        faults: list[ConfdError] = list(self.faults)
        for state in (worker.state for worker in self.workers):
            if state.error:
                faults.append(ConfdError(state.error, details=state.error_details, hint=state.hint))
        return faults

    async def forever(self) -> None:
        """Until cancelled."""
        for fault in self.faults:
            _log.error("a resource is left out: %s", fault.brief)
        async with asyncio.TaskGroup() as tasks:
            for worker in self.workers:
                tasks.create_task(worker.run())
            if self._config.watch:
                await self._store.follow(self._keys, self._deliver)
            else:
                await self._poll()

    def forget_memory(self) -> None:
        """An operator's order: believe the store as it is. To be called before `forever`."""
        for worker in self.workers:
            worker.forget_memory()

    def _deliver(self, batch: Batch) -> None:
        for worker in self.workers:
            worker.notice(batch)

    async def _poll(self) -> None:
        """Without -watch: read all again every interval."""
        known: dict[str, Entry] | None = None
        while True:
            try:
                batch = await self._store.read(self._keys)
            except StoreUnavailable as err:
                _log.warning("the store does not answer: %s", err.brief)
                await asyncio.sleep(min(_READ_AGAIN_S, self._config.interval))
                continue
            fresh = {change.key: change.new for change in batch.changes if change.new is not None}
            if known is not None:
                batch = Batch(batch.revision, _difference(known, fresh), batch.cluster_id, batch.epoch)
            known = fresh
            self._deliver(batch)
            await asyncio.sleep(self._config.interval)


def _difference(old: Mapping[str, Entry], new: Mapping[str, Entry]) -> tuple[Change, ...]:
    keys = sorted(old.keys() | new.keys())
    return tuple(Change(k, old.get(k), new.get(k), "resync") for k in keys if old.get(k) != new.get(k))
