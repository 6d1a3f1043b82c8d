"""An etcd v3 client on grpc.aio: failover, resumable watches, a mirrored prefix, leases. It imports no sister."""

from etcdkit.channels import TLS
from etcdkit.client import Client, MemberStatus
from etcdkit.entry import Change, Entry, Snapshot
from etcdkit.errors import Compacted, EtcdError, HistoryBroke, LeaseGone, Refused, Unauthorized, Unavailable
from etcdkit.lease import Lease
from etcdkit.mirror import Mirror
from etcdkit.transaction import (
    Compare,
    Operation,
    TxnResult,
    absent,
    created,
    delete,
    delete_prefix,
    get,
    put,
    unchanged,
)
from etcdkit.watch import Batch

__all__ = [
    "TLS",
    "Batch",
    "Change",
    "Client",
    "Compacted",
    "Compare",
    "Entry",
    "EtcdError",
    "HistoryBroke",
    "Lease",
    "LeaseGone",
    "MemberStatus",
    "Mirror",
    "Operation",
    "Refused",
    "Snapshot",
    "TxnResult",
    "Unauthorized",
    "Unavailable",
    "absent",
    "created",
    "delete",
    "delete_prefix",
    "get",
    "put",
    "unchanged",
]
