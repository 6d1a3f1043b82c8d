"""The parts of etcdkit that need no etcd."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdkit import LeaseGone, Refused, Unauthorized, Unavailable
from etcdkit.calls import Backoff, Calls, _is_transient, _mapped, _never_sent
from etcdkit.channels import TLS, Members
from etcdkit.entry import key_bytes, key_text, prefix_range
from etcdkit.proto import etcd_pb2 as pb

Code = grpc.StatusCode


def fault(code: Any, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_a_prefix_holds_exactly_the_keys_that_begin_with_it(prefix: bytes, key: bytes) -> None:
    start, end = prefix_range(key_text(prefix))
    key = key or b"\0"  # etcd has no empty key
    inside = start <= key and (end == b"\0" or key < end)
    assert inside == key.startswith(prefix)


@given(st.binary())
def test_any_key_survives_as_text(key: bytes) -> None:
    assert key_bytes(key_text(key)) == key


@pytest.mark.parametrize(
    ("code", "details", "transient", "never_sent"),
    [
        (Code.UNAVAILABLE, "failed to connect to all addresses; Connection refused", True, True),
        (Code.UNAVAILABLE, "etcdserver: no leader", True, True),
        (Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests", True, True),
        (Code.UNAVAILABLE, "Socket closed", True, False),
        (Code.UNAVAILABLE, "etcdserver: request timed out", True, False),
        (Code.UNAVAILABLE, "etcdserver: request timed out, possibly due to previous leader failure", True, False),
        (Code.DEADLINE_EXCEEDED, "Deadline Exceeded", True, False),
        (Code.CANCELLED, "context canceled", True, False),
        (Code.INTERNAL, "Received RST_STREAM with error code 2", True, False),
        (Code.UNKNOWN, "Stream removed", True, False),
        (Code.INVALID_ARGUMENT, "etcdserver: key is not provided", False, False),
        (Code.NOT_FOUND, "etcdserver: requested lease not found", False, False),
        (Code.PERMISSION_DENIED, "etcdserver: permission denied", False, False),
        (Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", False, False),
    ],
)
def test_what_is_tried_again(code: Any, details: str, transient: bool, never_sent: bool) -> None:
    err = fault(code, details)
    assert (_is_transient(err), _never_sent(err)) == (transient, never_sent)


@pytest.mark.parametrize(
    ("code", "details", "kind", "word"),
    [
        (Code.NOT_FOUND, "etcdserver: requested lease not found", LeaseGone, "lease 2a"),
        (Code.INVALID_ARGUMENT, "etcdserver: user name is empty", Unauthorized, "asks for a user"),
        (
            Code.INVALID_ARGUMENT,
            "etcdserver: authentication failed, invalid user ID or password",
            Unauthorized,
            "invalid",
        ),
        (Code.FAILED_PRECONDITION, "etcdserver: authentication is not enabled", Unauthorized, "no authentication"),
        (Code.PERMISSION_DENIED, "etcdserver: permission denied", Unauthorized, "denied"),
        (Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", Refused, "full"),
        (Code.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request", Refused, "duplicate"),
    ],
)
def test_what_etcd_says_becomes_an_error_of_ours(code: Any, details: str, kind: type, word: str) -> None:
    err = _mapped(fault(code, details), pb.PutRequest(lease=42))
    assert type(err) is kind and word in err.brief and err.retry_after_s == 0


@pytest.mark.parametrize(
    ("brief", "word"),
    [
        ("failed to connect: TSI_DATA_CORRUPTED", "TLS"),
        ("CERTIFICATE_VERIFY_FAILED certificate", "TLS"),
        ("refused", "runs"),
    ],
)
def test_the_hint_fits_what_is_wrong(brief: str, word: str) -> None:
    assert word in Unavailable(brief).hint


def test_of_many_failures_on_one_member_the_first_moves_on() -> None:
    members = Members(["a:1", "http://b:2/", "c:3"], None)
    assert sorted(m.address for m in members.all) == ["a:1", "b:2", "c:3"]
    first = members.current
    members.leave(first)
    second = members.current
    members.leave(first)
    assert members.current is second is not first
    for _ in range(2):
        members.leave(members.current)
    assert members.current is first


def test_no_endpoint_is_refused_and_channels_are_opened_late() -> None:
    with pytest.raises(ValueError, match="endpoint"):
        Members([], None)
    members = Members(["https://a:1"], TLS(None))  # no loop runs here: a channel could not be opened
    asyncio.run(members.close())


async def test_waits_double_up_to_a_limit_with_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    backoff = Backoff(0.1, 0.4)
    for _ in range(5):
        await backoff.wait()
    backoff.reset()
    await backoff.wait()
    for seconds, middle in zip(slept, [0.1, 0.2, 0.4, 0.4, 0.4, 0.1], strict=True):
        assert middle * 0.5 <= seconds <= middle * 1.5


class Flaky:
    """A member whose answers are given one after the other."""

    address = "fake:1"

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.unary = {name: self._method(name) for name in ("Put", "Range", "Authenticate")}

    def _method(self, name: str) -> Any:
        async def call(request: Any, timeout: float, metadata: Any = ()) -> object:
            self.asked.append(f"{name} {dict(metadata).get('token', '-')}")
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def calls_to(member: Flaky, user: tuple[str, str] | None = None) -> Calls:
    members = Members(["fake:1"], None)
    members.all[:] = [member]  # type: ignore[list-item]
    return Calls(members, user, timeout_s=2.0)


async def test_an_ambiguous_write_is_not_repeated_unless_it_may_be() -> None:
    lost, done = fault(Code.UNAVAILABLE, "Socket closed"), pb.PutResponse()
    once = Flaky(lost, done)
    with pytest.raises(Unavailable) as err:
        await calls_to(once).unary("Put", pb.PutRequest())
    assert err.value.ambiguous and once.asked == ["Put -"]
    twice = Flaky(lost, done)
    assert await calls_to(twice).unary("Put", pb.PutRequest(), repeatable=True) is done


async def test_a_write_that_never_left_is_repeated() -> None:
    done = pb.PutResponse()
    member = Flaky(fault(Code.UNAVAILABLE, "failed to connect to all addresses"), done)
    assert await calls_to(member).unary("Put", pb.PutRequest()) is done


async def test_a_stale_token_is_replaced_and_the_write_sent_again() -> None:
    token = [pb.AuthenticateResponse(token=name) for name in ("one", "two")]
    done = pb.PutResponse()
    member = Flaky(token[0], fault(Code.UNAUTHENTICATED, "etcdserver: invalid auth token"), token[1], done)
    assert await calls_to(member, ("root", "x")).unary("Put", pb.PutRequest()) is done
    assert member.asked == ["Authenticate -", "Put one", "Authenticate -", "Put two"]


async def test_a_refused_watch_is_final_only_with_a_fresh_token(monkeypatch: pytest.MonkeyPatch) -> None:
    member = Flaky(pb.AuthenticateResponse(token="one"), pb.RangeResponse())
    calls = calls_to(member, ("root", "x"))
    await calls.unary("Range", pb.RangeRequest())
    assert isinstance(calls.refused("permission denied"), Unauthorized)
    monkeypatch.setattr(calls, "_token_at", calls._token_at - 60)
    assert isinstance(calls.refused("permission denied"), Unavailable)
    assert calls._token == ""
    assert isinstance(calls_to(Flaky()).refused("permission denied"), Unauthorized)
