"""A lease that is kept alive, through lost members and through an etcd that is away for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from types import TracebackType

from etcdkit.calls import STREAM_ANSWER_S, Backoff
from etcdkit.client import Client
from etcdkit.errors import EtcdError, LeaseGone
from etcdkit.proto import etcd_pb2 as pb

log = logging.getLogger(__name__)


class Lease:
    """Granted on entry, or resumed from `resume_id` if that one still lives. Ends only by etcd's word or by `close`:
    while etcd is away it is kept, as etcd gives leases their whole time again when it comes back.

    `deadline` is the time.monotonic() until which it lives for certain: the last renewal was sent then, plus the TTL.
    A holder that must not act without it stops some margin before. A new lease in place of a lost one is the holder's
    decision.
    """

    def __init__(self, client: Client, ttl_s: int, *, resume_id: int | None = None) -> None:
        self._client = client
        self._ttl_s = ttl_s
        self._resume_id = resume_id
        self._gone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._interrupted = False
        self.id = 0
        self.deadline = 0.0

    async def __aenter__(self) -> Lease:
        """Raises EtcdError."""
        asked = time.monotonic()
        left_s = await self._client.lease_time_to_live(self._resume_id) if self._resume_id else None
        if self._resume_id and left_s is not None:
            self.id, self.deadline = self._resume_id, asked + left_s
        else:
            asked = time.monotonic()
            self.id = await self._client.lease(self._ttl_s)
            self.deadline = asked + self._ttl_s
        self._task = asyncio.create_task(self._keep(), name=f"lease {self.id:x}")
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
        backoff = Backoff(longest_s=0.5)
        while True:
            try:
                await self._renew(backoff)
            except LeaseGone:
                log.warning("lease gone id=%x", self.id)
                self._gone.set()
                return
            except EtcdError as err:
                if not self._interrupted:
                    log.warning("keep-alive interrupted id=%x reason=%s", self.id, err)
                self._interrupted = True
            await backoff.wait()

    async def _renew(self, backoff: Backoff) -> None:
        """Renew on one member until it is lost. Raises LeaseGone, Unavailable."""
        async with self._client.calls.stream("LeaseKeepAlive") as wire:
            while True:
                asked = time.monotonic()
                await wire.send(pb.LeaseKeepAliveRequest(ID=self.id))
                # A member that died must be left early enough for others to be asked before the lease ends.
                answer = await wire.read(min(STREAM_ANSWER_S, max(0.5, self._ttl_s / 4)))
                if answer.TTL <= 0:
                    raise LeaseGone(self.id)
                self.deadline = asked + answer.TTL
                if self._interrupted:
                    log.info("keep-alive back id=%x", self.id)
                self._interrupted = False
                backoff.reset()
                await asyncio.sleep(answer.TTL / 3)
