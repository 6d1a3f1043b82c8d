"""The client: what can be asked of a cluster."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from types import TracebackType

from etcdkit.calls import Calls
from etcdkit.channels import TLS, Member, Members
from etcdkit.entry import Entry, Snapshot, entry_of, key_bytes, key_text, prefix_range
from etcdkit.errors import EtcdError, LeaseGone, Refused
from etcdkit.proto import etcd_pb2 as pb
from etcdkit.transaction import Compare, Operation, TxnResult, result_of
from etcdkit.watch import Batch, watch

STATUS_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class MemberStatus:
    """One member as it sees itself; with `error` it did not answer and the rest says nothing."""

    endpoint: str
    version: str = ""
    revision: int = 0
    cluster_id: int = 0
    leads: bool = False
    has_leader: bool = False
    db_size_bytes: int = 0
    faults: tuple[str, ...] = ()  # alarms, such as a full database
    error: EtcdError | None = None


class Client:
    """Speaks to an etcd cluster of version 3.4 or later.

    `endpoints` are host:port or URLs. A call tries member after member for `timeout_s` seconds. Calls raise
    Unavailable, Unauthorized or Refused. Use it in one event loop. With `user_optional`, a cluster that has no
    authentication is used without a user instead of being refused.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        tls: TLS | None = None,
        user: tuple[str, str] | None = None,
        user_optional: bool = False,
        timeout_s: float = 10.0,
    ) -> None:
        self._members = Members(endpoints, tls)
        self.calls = Calls(self._members, user, timeout_s, user_optional=user_optional)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._members.close()

    # -- keys ---------------------------------------------------------------------------------------------------------

    async def get(self, key: str) -> Entry | None:
        """The entry of `key`; None if there is none."""
        answer = await self.calls.unary("Range", pb.RangeRequest(key=key_bytes(key)), repeatable=True)
        return entry_of(answer.kvs[0]) if answer.kvs else None

    async def get_prefix(self, prefix: str) -> Snapshot:
        """Everything below `prefix` at one revision, as the majority has it, in the order of keys; epoch is 0."""
        start, end = prefix_range(prefix)
        answer = await self.calls.unary("Range", pb.RangeRequest(key=start, range_end=end), repeatable=True)
        entries = {key_text(kv.key): entry_of(kv) for kv in answer.kvs}
        return Snapshot(answer.header.revision, answer.header.cluster_id, 0, entries)

    async def put(self, key: str, value: bytes, lease: int = 0, *, repeatable: bool = False) -> int:
        """Store `value`; the revision. Raises LeaseGone, and Unavailable with `ambiguous` when it may have happened.

        `repeatable` says that storing it twice, or after somebody else's value, does no harm.
        """
        request = pb.PutRequest(key=key_bytes(key), value=value, lease=lease)
        return int((await self.calls.unary("Put", request, repeatable=repeatable)).header.revision)

    async def delete(self, key: str) -> bool:
        """Remove `key`; whether it was there. Raises Unavailable with `ambiguous` when it may have happened."""
        answer = await self.calls.unary("DeleteRange", pb.DeleteRangeRequest(key=key_bytes(key)))
        return bool(answer.deleted)

    async def delete_prefix(self, prefix: str) -> int:
        """Remove everything below `prefix`; how many keys."""
        start, end = prefix_range(prefix)
        return int((await self.calls.unary("DeleteRange", pb.DeleteRangeRequest(key=start, range_end=end))).deleted)

    async def transaction(
        self, *, compare: Sequence[Compare] = (), success: Sequence[Operation] = (), failure: Sequence[Operation] = ()
    ) -> TxnResult:
        """Do `success` if all of `compare` hold, else `failure`, at one revision. Never repeated when ambiguous."""
        return result_of(
            await self.calls.unary("Txn", pb.TxnRequest(compare=compare, success=success, failure=failure))
        )

    # -- leases -------------------------------------------------------------------------------------------------------

    async def lease(self, ttl_s: int) -> int:
        """A new lease; its id. Nobody keeps it alive: see etcdkit.Lease."""
        lease = random.getrandbits(62) + 1
        try:
            await self.calls.unary("LeaseGrant", pb.LeaseGrantRequest(TTL=ttl_s, ID=lease), repeatable=True)
        except Refused as err:
            if "lease already exists" not in err.brief:
                raise
        return lease

    async def revoke(self, lease: int) -> None:
        """End a lease: its keys vanish. Fine if it has ended."""
        try:
            await self.calls.unary("LeaseRevoke", pb.LeaseRevokeRequest(ID=lease), repeatable=True)
        except LeaseGone:
            return

    async def lease_time_to_live(self, lease: int) -> float | None:
        """Seconds that a lease has left; None if it is gone."""
        try:
            answer = await self.calls.unary("LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=lease), repeatable=True)
        except LeaseGone:
            return None
        return float(answer.TTL) if answer.TTL >= 0 and answer.grantedTTL > 0 else None

    # -- watching -----------------------------------------------------------------------------------------------------

    def watch(self, key: str, start_revision: int = 0) -> AsyncGenerator[Batch, None]:
        """As watch_prefix, for one key."""
        return watch(self.calls, key_bytes(key), b"", start_revision)

    def watch_prefix(self, prefix: str, start_revision: int = 0) -> AsyncGenerator[Batch, None]:
        """Batches of events below `prefix` from `start_revision` on (0: from now), each revision once and in order.

        A lost member is no end: it goes on where it was, with the next one. Raises Compacted when the revision is gone,
        HistoryBroke when etcd's data was replaced, Unauthorized. Use contextlib.aclosing to leave it early.
        """
        return watch(self.calls, *prefix_range(prefix), start_revision)

    # -- the cluster --------------------------------------------------------------------------------------------------

    async def status(self) -> tuple[MemberStatus, ...]:
        """What each endpoint says of itself, in the order of endpoints' names; takes at most two seconds."""
        members = sorted(self._members.all, key=lambda m: m.address)
        return tuple(await asyncio.gather(*(self._status(member) for member in members)))

    async def _status(self, member: Member) -> MemberStatus:
        try:
            s = await self.calls.ask(member, "Status", pb.StatusRequest(), STATUS_TIMEOUT_S)
        except EtcdError as err:
            return MemberStatus(member.address, error=err)
        return MemberStatus(
            member.address,
            version=s.version,
            revision=s.header.revision,
            cluster_id=s.header.cluster_id,
            leads=s.leader == s.header.member_id,
            has_leader=s.leader != 0,
            db_size_bytes=s.dbSize,
            faults=tuple(s.errors),
        )
