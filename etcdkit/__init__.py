"""An etcd v3 client on grpc.aio: failover, resumable watches, a mirrored prefix, leases. It imports no sister."""

from etcdkit.channels import TLS
from etcdkit.client import Batch, Client
from etcdkit.entry import Change, Entry, Snapshot
from etcdkit.errors import Compacted, EtcdError, LeaseGone, Refused, Unauthorized, Unavailable
from etcdkit.lease import Lease
from etcdkit.mirror import Mirror
from etcdkit.transaction import Compare, Operation, TxnResult, absent, created, delete, put, unchanged

__all__ = [
    "TLS",
    "Batch",
    "Change",
    "Client",
    "Compacted",
    "Compare",
    "Entry",
    "EtcdError",
    "Lease",
    "LeaseGone",
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
    "put",
    "unchanged",
]
