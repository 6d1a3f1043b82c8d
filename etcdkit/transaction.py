"""The words of a transaction: comparisons and operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from etcdkit.proto import etcd_pb2 as pb

Compare: TypeAlias = pb.Compare
Operation: TypeAlias = pb.RequestOp


@dataclass(frozen=True)
class TxnResult:
    """Whether all comparisons held, and the store's revision after it."""

    succeeded: bool
    revision: int


def absent(key: str) -> Compare:
    """`key` does not exist."""
    return created(key, 0)


def created(key: str, create_revision: int) -> Compare:
    """`key` is the one created at that revision."""
    return pb.Compare(
        result=pb.Compare.EQUAL, target=pb.Compare.CREATE, key=key.encode(), create_revision=create_revision
    )


def unchanged(key: str, mod_revision: int) -> Compare:
    """`key` was last changed at that revision."""
    return pb.Compare(result=pb.Compare.EQUAL, target=pb.Compare.MOD, key=key.encode(), mod_revision=mod_revision)


def put(key: str, value: bytes, lease: int = 0) -> Operation:
    """Store `value` at `key`, bound to `lease` if not 0."""
    return pb.RequestOp(request_put=pb.PutRequest(key=key.encode(), value=value, lease=lease))


def delete(key: str) -> Operation:
    """Remove `key`; fine if it is not there."""
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key.encode()))
