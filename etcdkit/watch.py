"""Watching: events of one key or a prefix, in order, each once."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from etcdkit.calls import Backoff, Calls
from etcdkit.entry import Entry, entry_of, key_text
from etcdkit.errors import Compacted, HistoryBroke, Unavailable
from etcdkit.proto import etcd_pb2 as pb

ASK_AFTER_S = 5.0  # a silent stream is asked for its progress, so that a frozen member is not taken for a quiet one
_PROGRESS = pb.WatchRequest(progress_request=pb.WatchProgressRequest())


@dataclass(frozen=True)
class Batch:
    """Events of one watch answer, as (key, entry or None if deleted, revision), and the store's revision then.

    Without events it says only that the stream lives, and how far the store is.
    """

    events: tuple[tuple[str, Entry | None, int], ...]
    revision: int
    cluster_id: int


async def watch_once(calls: Calls, start: bytes, end: bytes, start_revision: int) -> AsyncGenerator[Batch, None]:
    """Events from `start_revision` on, from one member until it fails. The first batch comes when the watch is there.

    Raises Unavailable when the member is lost or behind, Compacted, Unauthorized.
    """
    async with calls.stream("Watch") as wire:
        await wire.send(_create(start, end, start_revision))
        answer = await wire.read()
        while True:
            if answer.compact_revision:
                raise Compacted(answer.compact_revision)
            if answer.canceled:
                raise calls.refused(answer.cancel_reason)
            if answer.header.revision + 1 < start_revision:
                # A follower that lags, or another history: whoever asked for it reads again, and sees which.
                raise Unavailable(f"the member is at revision {answer.header.revision} only")
            yield _batch(answer)
            answer = await wire.read_asking(_PROGRESS, ASK_AFTER_S)


async def watch(calls: Calls, start: bytes, end: bytes, start_revision: int) -> AsyncGenerator[Batch, None]:
    """Events from `start_revision` on (0: from now), on member after member; see Client.watch_prefix."""
    resume, cluster_id, backoff = start_revision, 0, Backoff()
    while True:
        try:
            async with aclosing(watch_once(calls, start, end, resume)) as batches:
                there = await anext(batches)
                if resume:
                    await _same_history(calls, start, resume, cluster_id)
                resume, cluster_id = resume or there.revision + 1, there.cluster_id
                async for batch in batches:
                    backoff.reset()
                    if not batch.events:
                        continue
                    # The header's revision would skip what a watcher that is catching up has not been told yet.
                    resume = batch.events[-1][2] + 1
                    yield batch
        except Unavailable:
            await backoff.wait()
            if resume:
                await _same_history(calls, start, resume, cluster_id)


async def _same_history(calls: Calls, key: bytes, resume: int, cluster_id: int) -> None:
    """Ask the cluster (not one member, which may lag) whether it still is at what we have seen."""
    try:
        answer = await calls.unary("Range", pb.RangeRequest(key=key), repeatable=True)
    except Unavailable:
        return
    if answer.header.revision + 1 < resume or answer.header.cluster_id != (cluster_id or answer.header.cluster_id):
        raise HistoryBroke(f"etcd's data was replaced: it is at revision {answer.header.revision}, before {resume}")


def _create(start: bytes, end: bytes, start_revision: int) -> pb.WatchRequest:
    wanted = pb.WatchCreateRequest(key=start, range_end=end, start_revision=start_revision, progress_notify=True)
    return pb.WatchRequest(create_request=wanted)


def _batch(answer: pb.WatchResponse) -> Batch:
    events = tuple(
        (key_text(e.kv.key), None if e.type == pb.Event.DELETE else entry_of(e.kv), int(e.kv.mod_revision))
        for e in answer.events
    )
    return Batch(events, answer.header.revision, answer.header.cluster_id)
