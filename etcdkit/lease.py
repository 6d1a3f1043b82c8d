"""A lease that is kept alive, through lost members and through an etcd that is away for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from types import TracebackType

from etcdkit.client import Client
from etcdkit.errors import EtcdError, LeaseGone

log = logging.getLogger(__name__)

RETRY_S = 0.5


class Lease:
    """Granted on entry, or resumed from `resume_id` if that one still lives. Ends only by etcd's word or by `close`.

    `deadline` is the time.monotonic() until which it lives for certain: the last renewal was sent then, plus the TTL.
    A holder that must not act without it stops some margin before.
    """

    def __init__(self, client: Client, ttl_s: int, *, resume_id: int | None = None) -> None:
        self._client = client
        self._ttl_s = ttl_s
        self._resume_id = resume_id
        self._gone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.id = 0
        self.deadline = 0.0

    async def __aenter__(self) -> Lease:
        asked = time.monotonic()
        if self._resume_id and await self._client.lease_time_to_live(self._resume_id) is not None:
            self.id = self._resume_id
        else:
            self.id = await self._client.lease(self._ttl_s)
            self.deadline = asked + self._ttl_s
        self._task = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(revoke=True)

    async def lost(self) -> None:
        """Return when etcd has said that the lease is gone."""
        await self._gone.wait()

    async def close(self, *, revoke: bool) -> None:
        """Stop keeping it alive. With `revoke` its keys vanish now; if etcd is away, they do when the TTL ends."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if revoke and not self._gone.is_set():
            try:
                await self._client.revoke(self.id)
            except EtcdError as err:
                log.warning("lease not revoked id=%x reason=%s", self.id, err)

    async def _keep(self) -> None:
        while True:
            try:
                await self._renew()
            except LeaseGone:
                self._gone.set()
                return
            except EtcdError as err:
                log.info("keep-alive interrupted id=%x reason=%s", self.id, err)
            await asyncio.sleep(RETRY_S)

    async def _renew(self) -> None:
        """Renew on one member until it is lost."""
        asked = time.monotonic()
        async for ttl_s in self._client.keep_alive(self.id):
            self.deadline = asked + ttl_s
            await asyncio.sleep(ttl_s / 3)
            asked = time.monotonic()
