"""gRPC channels to the members of a cluster, and which one is used now."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import grpc
import grpc.aio

from etcdkit.proto import etcd_pb2 as pb

# A frozen member is noticed by unanswered pings. keepalive_timeout_ms alone does not fire in current grpcio:
# ping_timeout_ms is what does. etcd refuses pings more often than every 5 s, and any while no call is open: it then
# hangs up, and grpcio pings half as often from there on.
OPTIONS: list[tuple[str, Any]] = [
    ("grpc.keepalive_time_ms", 6000),
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.http2.ping_timeout_ms", 3000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
]

METHODS: dict[str, tuple[str, Any, Any]] = {
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
        ("Maintenance", "Status", pb.StatusRequest, pb.StatusResponse),
    )
}

STREAMS: dict[str, tuple[str, Any, Any]] = {
    "Watch": ("/etcdserverpb.Watch/Watch", pb.WatchRequest, pb.WatchResponse),
    "LeaseKeepAlive": ("/etcdserverpb.Lease/LeaseKeepAlive", pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse),
}


@dataclass(frozen=True)
class TLS:
    """PEM bytes: the authority to trust (None: the system's), and our certificate and key if etcd asks for them."""

    ca: bytes | None
    cert: bytes | None = None
    key: bytes | None = None


class Member:
    """One member: its channel, opened at first use (it belongs to the loop that runs then), and its methods."""

    def __init__(self, address: str, open_channel: Callable[[str], grpc.aio.Channel]) -> None:
        self.address = address
        self._open_channel = open_channel

    @cached_property
    def channel(self) -> grpc.aio.Channel:
        return self._open_channel(self.address)

    @cached_property
    def unary(self) -> dict[str, Callable[..., Any]]:
        return {
            name: self.channel.unary_unary(path, request.SerializeToString, response.FromString)
            for name, (path, request, response) in METHODS.items()
        }

    @cached_property
    def streams(self) -> dict[str, Callable[..., Any]]:
        return {
            name: self.channel.stream_stream(path, request.SerializeToString, response.FromString)
            for name, (path, request, response) in STREAMS.items()
        }

    async def close(self) -> None:
        if "channel" in self.__dict__:
            await self.channel.close()


class Members:
    """All members in random order; `current` is used until it fails."""

    def __init__(self, endpoints: Sequence[str], tls: TLS | None) -> None:
        if not endpoints:
            raise ValueError("at least one endpoint is needed")
        secure = tls is not None or any(e.startswith("https://") for e in endpoints)
        addresses = [e.split("://", 1)[-1].rstrip("/") for e in endpoints]
        random.shuffle(addresses)
        self.all = [Member(address, lambda a: _channel(a, tls or TLS(None), secure)) for address in addresses]
        self._index = 0

    @property
    def current(self) -> Member:
        return self.all[self._index]

    def leave(self, member: Member) -> None:
        """Go on to the next one; of many calls that failed on the same member only the first moves."""
        if self.current is member:
            self._index = (self._index + 1) % len(self.all)

    async def close(self) -> None:
        for member in self.all:
            await member.close()


def _channel(address: str, tls: TLS, secure: bool) -> grpc.aio.Channel:
    if not secure:
        return grpc.aio.insecure_channel(address, options=OPTIONS)
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(tls.ca, tls.key, tls.cert), options=OPTIONS)
