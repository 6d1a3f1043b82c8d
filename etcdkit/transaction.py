"""The words of a transaction: comparisons and operations, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from etcdkit.entry import Entry, entry_of, key_bytes, key_text, prefix_range
from etcdkit.proto import etcd_pb2 as pb

Compare: TypeAlias = pb.Compare
Operation: TypeAlias = pb.RequestOp
Response: TypeAlias = Mapping[str, Entry] | int


@dataclass(frozen=True)
class TxnResult:
    """Whether all comparisons held, and the store's revision after it.

    `responses` has one for each operation done: the entries that a get found, how many keys a delete removed, and for
    a put the revision.
    """

    succeeded: bool
    revision: int
    responses: tuple[Response, ...] = ()


def absent(key: str) -> Compare:
    """`key` does not exist."""
    return created(key, 0)


def created(key: str, create_revision: int) -> Compare:
    """`key` is the one created at that revision."""
    return pb.Compare(
        result=pb.Compare.EQUAL, target=pb.Compare.CREATE, key=key_bytes(key), create_revision=create_revision
    )


def unchanged(key: str, mod_revision: int) -> Compare:
    """`key` was last changed at that revision."""
    return pb.Compare(result=pb.Compare.EQUAL, target=pb.Compare.MOD, key=key_bytes(key), mod_revision=mod_revision)


def put(key: str, value: bytes, lease: int = 0) -> Operation:
    """Store `value` at `key`, bound to `lease` if not 0."""
    return pb.RequestOp(request_put=pb.PutRequest(key=key_bytes(key), value=value, lease=lease))


def get(key: str) -> Operation:
    """Read `key`."""
    return pb.RequestOp(request_range=pb.RangeRequest(key=key_bytes(key)))


def delete(key: str) -> Operation:
    """Remove `key`; fine if it is not there."""
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key_bytes(key)))


def delete_prefix(prefix: str) -> Operation:
    """Remove everything below `prefix`."""
    start, end = prefix_range(prefix)
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=start, range_end=end))


def result_of(answer: pb.TxnResponse) -> TxnResult:
    """etcd's message as a TxnResult."""
    responses = tuple(_response(part, answer.header.revision) for part in answer.responses)
    return TxnResult(answer.succeeded, answer.header.revision, responses)


def _response(part: pb.ResponseOp, revision: int) -> Response:
    if part.HasField("response_range"):
        return {key_text(kv.key): entry_of(kv) for kv in part.response_range.kvs}
    return int(part.response_delete_range.deleted) if part.HasField("response_delete_range") else revision
