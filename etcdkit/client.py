"""The client: requests to a cluster, with failover, authentication and a retry where it is safe."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import grpc
import grpc.aio

from etcdkit.channels import TLS, Member, Members
from etcdkit.entry import Entry, Snapshot, prefix_end
from etcdkit.errors import Compacted, EtcdError, LeaseGone, Refused, Unauthorized, Unavailable
from etcdkit.proto import etcd_pb2 as pb
from etcdkit.transaction import Compare, Operation, TxnResult

ATTEMPT_TIMEOUT_S = 2.0
FIRST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 1.0

# The request never left, or was refused before it was proposed: safe to repeat even where it writes.
_NEVER_SENT = ("failed to connect", "connection refused", "no leader", "not capable", "connections to all backends")


@dataclass(frozen=True)
class Batch:
    """Events of one watch answer, as (key, entry or None if deleted, revision), and the store's revision then."""

    events: tuple[tuple[str, Entry | None, int], ...]
    revision: int
    cluster_id: int


class Client:
    """Speaks to an etcd cluster of version 3.4 or later.

    `endpoints` are host:port or URLs. A call tries member after member for `timeout_s` seconds.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        tls: TLS | None = None,
        user: tuple[str, str] | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self._members = Members(endpoints, tls)
        self._user = user
        self._token = ""
        self._timeout_s = timeout_s
        self._authenticating = asyncio.Lock()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._members.close()

    # -- keys -------------------------------------------------------------------------------------------------------

    async def get(self, key: str) -> Entry | None:
        """The entry of `key`; None if there is none."""
        answer = await self.call("Range", pb.RangeRequest(key=key.encode()), repeatable=True)
        return entry_of(answer.kvs[0]) if answer.kvs else None

    async def get_prefix(self, prefix: str) -> Snapshot:
        """Everything below `prefix` at one revision; epoch is 0."""
        start = prefix.encode()
        answer = await self.call("Range", pb.RangeRequest(key=start, range_end=prefix_end(start)), repeatable=True)
        entries = {kv.key.decode(): entry_of(kv) for kv in answer.kvs}
        return Snapshot(answer.header.revision, answer.header.cluster_id, 0, entries)

    async def put(self, key: str, value: bytes, lease: int = 0) -> int:
        """Store `value`; the revision. Raises Unavailable with `ambiguous` when it may have happened."""
        answer = await self.call("Put", pb.PutRequest(key=key.encode(), value=value, lease=lease))
        return int(answer.header.revision)

    async def delete(self, key: str) -> bool:
        """Remove `key`; whether it was there."""
        answer = await self.call("DeleteRange", pb.DeleteRangeRequest(key=key.encode()))
        return bool(answer.deleted)

    async def delete_prefix(self, prefix: str) -> int:
        """Remove everything below `prefix`; how many keys."""
        start = prefix.encode()
        answer = await self.call("DeleteRange", pb.DeleteRangeRequest(key=start, range_end=prefix_end(start)))
        return int(answer.deleted)

    async def transaction(
        self, *, compare: Sequence[Compare] = (), success: Sequence[Operation] = (), failure: Sequence[Operation] = ()
    ) -> TxnResult:
        """Do `success` if all of `compare` hold, else `failure`, at one revision. Never repeated when ambiguous."""
        answer = await self.call("Txn", pb.TxnRequest(compare=compare, success=success, failure=failure))
        return TxnResult(answer.succeeded, answer.header.revision)

    # -- leases -----------------------------------------------------------------------------------------------------

    async def lease(self, ttl_s: int) -> int:
        """A new lease; its id. Nobody keeps it alive: see etcdkit.Lease."""
        answer = await self.call("LeaseGrant", pb.LeaseGrantRequest(TTL=ttl_s))
        return int(answer.ID)

    async def revoke(self, lease: int) -> None:
        """End a lease: its keys vanish. Fine if it has ended."""
        try:
            await self.call("LeaseRevoke", pb.LeaseRevokeRequest(ID=lease), repeatable=True)
        except LeaseGone:
            return

    async def lease_time_to_live(self, lease: int) -> float | None:
        """Seconds that a lease has left; None if it is gone."""
        try:
            answer = await self.call("LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=lease), repeatable=True)
        except LeaseGone:
            return None
        return float(answer.TTL) if answer.TTL > 0 else None

    # -- watching ---------------------------------------------------------------------------------------------------

    async def watch_prefix(self, prefix: str, start_revision: int) -> AsyncGenerator[Batch, None]:
        """Events below `prefix` from `start_revision` on, from one member until it fails.

        A batch without events says only how far the store is. Raises Unavailable when the member is lost (go on at the
        last event's revision + 1: the header's would skip events of a watcher that is catching up), Compacted,
        Unauthorized.
        """
        member = self._members.current
        token = await self._ready_token(member)
        call = member.watch(metadata=self._metadata())
        start = prefix.encode()
        wanted = pb.WatchCreateRequest(
            key=start, range_end=prefix_end(start), start_revision=start_revision, progress_notify=True
        )
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
                await call.write(pb.WatchRequest(create_request=wanted))
                answer = await call.read()
            while answer is not grpc.aio.EOF:
                if answer.compact_revision:
                    raise Compacted(answer.compact_revision)
                if answer.canceled:
                    await self._cancelled(answer.cancel_reason, member, token)
                yield _batch(answer)
                answer = await call.read()
            raise Unavailable("the watch was closed by etcd")
        except (grpc.aio.AioRpcError, TimeoutError, asyncio.InvalidStateError) as err:
            if isinstance(err, grpc.aio.AioRpcError) and self._is_stale_token(err):
                await self._authenticate(member, token)
            raise Unavailable(_words(err)) from err
        finally:
            call.cancel()

    async def _cancelled(self, reason: str, member: Member, token: str) -> None:
        """etcd 3.5 tells a stale token as "permission denied": final only when a fresh one is refused, too."""
        if self._user and not self._token_is_fresh:
            await self._authenticate(member, token)
            self._token_is_fresh = True
            raise Unavailable(f"watch cancelled: {reason}")
        raise Unauthorized(f"etcd refuses the watch: {reason}", hint="The user needs read access to the prefix.")

    _token_is_fresh = False

    def leave_member(self) -> None:
        """Use another member from now on."""
        self._members.leave(self._members.current)

    # -- calling ----------------------------------------------------------------------------------------------------

    async def call(self, name: str, request: Any, *, repeatable: bool = False) -> Any:
        """One request, on member after member until the client's timeout. Raises EtcdError.

        What is not `repeatable` is sent again only if it surely had no effect.
        """
        end, backoff_s, last = time.monotonic() + self._timeout_s, FIRST_BACKOFF_S, "no answer"
        while (left_s := end - time.monotonic()) > 0:
            member = self._members.current
            token = self._token
            try:
                token = await self._ready_token(member)
                limit_s = min(ATTEMPT_TIMEOUT_S, left_s)
                return await member.unary[name](request, timeout=limit_s, metadata=self._metadata())
            except grpc.aio.AioRpcError as err:
                last = _words(err)
                if self._is_stale_token(err):
                    self._token = "" if self._token == token else self._token
                    continue
                if err.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    raise _mapped(err, request) from err
                self._members.leave(member)
                if not repeatable and not _never_sent(err):
                    raise Unavailable(f"etcd did not answer: {last}", ambiguous=True) from err
            await asyncio.sleep(backoff_s * (0.5 + random.random()))  # noqa: S311 - jitter, no secret
            backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)
        raise Unavailable(f"no etcd member answered within {self._timeout_s:g} s: {last}")

    async def keep_alive(self, lease: int) -> AsyncIterator[float]:
        """Ask one member to renew `lease` each time the caller comes back; yields the TTL in seconds.

        Raises LeaseGone when etcd says so, Unavailable when the member is lost.
        """
        member = self._members.current
        token = self._token
        call = None
        try:
            token = await self._ready_token(member)
            call = member.keep_alive(metadata=self._metadata())
            while True:
                async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
                    await call.write(pb.LeaseKeepAliveRequest(ID=lease))
                    answer = await call.read()
                if answer is grpc.aio.EOF:
                    raise Unavailable("etcd closed the keep-alive")
                if answer.TTL <= 0:
                    raise LeaseGone(lease)
                yield float(answer.TTL)
        except (grpc.aio.AioRpcError, TimeoutError, asyncio.InvalidStateError) as err:
            if isinstance(err, grpc.aio.AioRpcError) and self._is_stale_token(err) and self._token == token:
                self._token = ""
            self._members.leave(member)
            raise Unavailable(_words(err)) from err
        finally:
            if call is not None:
                call.cancel()

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """`hasleader`: a member cut off refuses instead of hanging. The token is here as call credentials need TLS."""
        leader = (("hasleader", "true"),)
        return (*leader, ("token", self._token)) if self._token else leader

    async def _ready_token(self, member: Member) -> str:
        if self._user and not self._token:
            await self._authenticate(member, "")
        return self._token

    async def _authenticate(self, member: Member, old: str) -> None:
        """Get a token unless somebody else just did. Raises Unauthorized."""
        if self._user is None:
            return
        async with self._authenticating:
            if self._token != old and self._token:
                return
            name, password = self._user
            request = pb.AuthenticateRequest(name=name, password=password)
            answer = await member.unary["Authenticate"](request, timeout=ATTEMPT_TIMEOUT_S)
            self._token = answer.token

    def _is_stale_token(self, err: grpc.aio.AioRpcError) -> bool:
        words = (err.details() or "").lower()
        stale = ("invalid auth token", "user name is empty", "revision of auth store is old")
        return self._user is not None and any(s in words for s in stale)


def entry_of(kv: pb.KeyValue) -> Entry:
    """etcd's message as an Entry."""
    return Entry(kv.value, kv.mod_revision, kv.create_revision, kv.lease)


def _batch(answer: pb.WatchResponse) -> Batch:
    events = tuple(
        (e.kv.key.decode(), None if e.type == pb.Event.DELETE else entry_of(e.kv), e.kv.mod_revision)
        for e in answer.events
    )
    return Batch(events, answer.header.revision, answer.header.cluster_id)


def _never_sent(err: grpc.aio.AioRpcError) -> bool:
    words = (err.details() or "").lower()
    return err.code() is grpc.StatusCode.UNAVAILABLE and any(s in words for s in _NEVER_SENT)


def _words(err: BaseException) -> str:
    if isinstance(err, grpc.aio.AioRpcError):
        return f"{err.details() or err.code().name}"
    return "it did not answer in time" if isinstance(err, TimeoutError) else str(err) or type(err).__name__


def _mapped(err: grpc.aio.AioRpcError, request: Any) -> EtcdError:
    words = _words(err)
    if "requested lease not found" in words:
        return LeaseGone(getattr(request, "ID", 0) or getattr(request, "lease", 0))
    if err.code() in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED) or "authentication" in words:
        return Unauthorized(f"etcd refuses: {words}", hint="Check the user, its password and its roles.")
    if err.code() is grpc.StatusCode.INVALID_ARGUMENT and "user name is empty" in words:
        return Unauthorized("etcd asks for a user", hint="Give a user and a password.")
    return Refused(f"etcd refuses: {words}")
