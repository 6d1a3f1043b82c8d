"""gRPC channels to the members of a cluster, and which one is used now."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from etcdkit.proto import etcd_pb2 as pb

# A frozen member is noticed by unanswered pings. keepalive_timeout_ms alone does not fire in current grpcio:
# ping_timeout_ms is what does. etcd refuses pings more often than every 5 s.
OPTIONS: list[tuple[str, Any]] = [
    ("grpc.keepalive_time_ms", 6000),
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.http2.ping_timeout_ms", 3000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
]

METHODS = {
    name: (f"/etcdserverpb.{service}/{name}", request, response)
    for service, name, request, response in (
        ("KV", "Range", pb.RangeRequest, pb.RangeResponse),
        ("KV", "Put", pb.PutRequest, pb.PutResponse),
        ("KV", "DeleteRange", pb.DeleteRangeRequest, pb.DeleteRangeResponse),
        ("KV", "Txn", pb.TxnRequest, pb.TxnResponse),
        ("Lease", "LeaseGrant", pb.LeaseGrantRequest, pb.LeaseGrantResponse),
        ("Lease", "LeaseRevoke", pb.LeaseRevokeRequest, pb.LeaseRevokeResponse),
        ("Lease", "LeaseTimeToLive", pb.LeaseTimeToLiveRequest, pb.LeaseTimeToLiveResponse),
        ("Auth", "Authenticate", pb.AuthenticateRequest, pb.AuthenticateResponse),
    )
}


@dataclass(frozen=True)
class TLS:
    """PEM bytes: the authority to trust (None: the system's), and our certificate and key if etcd asks for them."""

    ca: bytes | None
    cert: bytes | None = None
    key: bytes | None = None


class Member:
    """One member's channel and its methods."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.unary: dict[str, Callable[..., Any]] = {
            name: channel.unary_unary(path, request.SerializeToString, response.FromString)
            for name, (path, request, response) in METHODS.items()
        }
        self.watch = channel.stream_stream(
            "/etcdserverpb.Watch/Watch", pb.WatchRequest.SerializeToString, pb.WatchResponse.FromString
        )
        self.keep_alive = channel.stream_stream(
            "/etcdserverpb.Lease/LeaseKeepAlive",
            pb.LeaseKeepAliveRequest.SerializeToString,
            pb.LeaseKeepAliveResponse.FromString,
        )


class Members:
    """All members in random order; `current` is used until it fails."""

    def __init__(self, endpoints: Sequence[str], tls: TLS | None) -> None:
        if not endpoints:
            raise ValueError("at least one endpoint is needed")
        secure = tls is not None or any(e.startswith("https://") for e in endpoints)
        addresses = [e.split("://", 1)[-1].rstrip("/") for e in endpoints]
        random.shuffle(addresses)
        self._members = [Member(_channel(address, tls or TLS(None), secure)) for address in addresses]
        self._index = 0

    @property
    def current(self) -> Member:
        return self._members[self._index]

    def leave(self, member: Member) -> None:
        """Go on to the next one; of many calls that failed on the same member only the first moves."""
        if self.current is member:
            self._index = (self._index + 1) % len(self._members)

    async def close(self) -> None:
        for member in self._members:
            await member.channel.close()


def _channel(address: str, tls: TLS, secure: bool) -> grpc.aio.Channel:
    if not secure:
        return grpc.aio.insecure_channel(address, options=OPTIONS)
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(tls.ca, tls.key, tls.cert), options=OPTIONS)
