"""How requests and streams reach a cluster: failover, authentication, and a retry where it is safe."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from etcdkit.channels import Member, Members
from etcdkit.errors import EtcdError, LeaseGone, Refused, Unauthorized, Unavailable
from etcdkit.proto import etcd_pb2 as pb

SHORTEST_ATTEMPT_S = 2.0  # a frozen member is given up after so long, a busy one is not
STREAM_ANSWER_S = 3.0
TOKEN_FRESH_S = 5.0

# The request never left, or was refused before it was proposed: safe to repeat even where it writes.
_NEVER_SENT = ("failed to connect", "connection refused", "no leader", "not capable", "too many requests")
_NO_AUTH = "authentication is not enabled"
_STALE_TOKEN = ("invalid auth token", "user name is empty", "revision of auth store is old")
_TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
_BROKEN_STREAM = ("rst_stream", "goaway", "stream removed", "too many requests", "connection reset", "socket closed")
_STREAM_FAULTS = (grpc.aio.AioRpcError, TimeoutError, asyncio.InvalidStateError)


class Backoff:
    """Waits that double, with jitter, so that many clients do not come back at once."""

    def __init__(self, first_s: float = 0.05, longest_s: float = 1.0) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._next_s = first_s

    def reset(self) -> None:
        self._next_s = self._first_s

    async def wait(self) -> None:
        await asyncio.sleep(self._next_s * (0.5 + random.random()))  # noqa: S311 - jitter, no secret
        self._next_s = min(self._next_s * 2, self._longest_s)


class Wire:
    """An open stream. It ends with a read that takes too long, as grpc gives up the call with it."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._asking: asyncio.Task[None] | None = None

    async def send(self, message: Any) -> None:
        async with asyncio.timeout(STREAM_ANSWER_S):
            await self._call.write(message)

    async def read(self, within_s: float = STREAM_ANSWER_S) -> Any:
        """The next answer. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            answer = await self._call.read()
        if answer is grpc.aio.EOF:
            raise Unavailable("etcd closed the stream")
        return answer

    async def read_asking(self, message: Any, after_s: float) -> Any:
        """The next answer, for which `message` is sent when nothing came for `after_s`. Raises TimeoutError."""
        asking = asyncio.get_running_loop().call_later(after_s, self._ask, message)
        try:
            return await self.read(after_s + STREAM_ANSWER_S)
        finally:
            asking.cancel()

    def close(self) -> None:
        self._call.cancel()
        if self._asking is not None:
            self._asking.cancel()

    def _ask(self, message: Any) -> None:
        self._asking = asyncio.ensure_future(self.send(message))
        self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())  # the read fails as well


class Calls:
    """Requests and streams to the member in use; the next one is taken when it fails."""

    def __init__(
        self, members: Members, user: tuple[str, str] | None, timeout_s: float, *, user_optional: bool = False
    ) -> None:
        self.members = members
        self._user = user
        self._user_optional = user_optional
        self._timeout_s = timeout_s
        self._attempt_s = max(SHORTEST_ATTEMPT_S, timeout_s / (len(members.all) + 1))
        self._token = ""
        self._token_at = 0.0
        self._authenticating = asyncio.Lock()

    async def unary(self, name: str, request: Any, *, repeatable: bool = False) -> Any:
        """One request, on member after member until the client's timeout. Raises EtcdError.

        What is not `repeatable` is sent again only if it surely had no effect.
        """
        end, backoff, last = time.monotonic() + self._timeout_s, Backoff(), "no answer"
        while (left_s := end - time.monotonic()) > 0:
            member, token, sent = self.members.current, self._token, False
            try:
                token = await self._ready_token(member)
                sent = True
                limit_s = min(self._attempt_s, left_s)
                return await member.unary[name](request, timeout=limit_s, metadata=self._metadata())
            except grpc.aio.AioRpcError as err:
                last = words(err)
                if self._is_stale(err):
                    self._forget(token)
                elif not _is_transient(err):
                    raise _mapped(err, request) from err
                else:
                    self._leave(member, token)
                    if sent and not repeatable and not _never_sent(err):
                        raise Unavailable(f"etcd did not answer: {last}", ambiguous=True) from err
            await backoff.wait()
        raise Unavailable(f"no etcd member answered within {self._timeout_s:g} s: {last}")

    async def ask(self, member: Member, name: str, request: Any, within_s: float) -> Any:
        """One request to one member. Raises EtcdError."""
        try:
            await self._ready_token(member)
            return await member.unary[name](request, timeout=within_s, metadata=self._metadata(leader=False))
        except grpc.aio.AioRpcError as err:
            raise (Unavailable(words(err)) if _is_transient(err) else _mapped(err, request)) from err

    @asynccontextmanager
    async def stream(self, name: str) -> AsyncIterator[Wire]:
        """A stream to the member in use, closed at the end. What breaks it is raised as EtcdError, mostly Unavailable;
        the member is left then, so that the next stream goes to another one."""
        member, token = self.members.current, self._token
        wire = None
        try:
            token = await self._ready_token(member)
            wire = Wire(member.streams[name](metadata=self._metadata()))
            yield wire
        except _STREAM_FAULTS as err:
            if isinstance(err, grpc.aio.AioRpcError) and self._is_stale(err):
                self._forget(token)
                raise Unavailable(words(err)) from err
            self._leave(member, token)
            if isinstance(err, grpc.aio.AioRpcError) and not _is_transient(err):
                raise _mapped(err, None) from err
            raise Unavailable(f"{member.address}: {words(err)}") from err
        except Unavailable:
            self._leave(member, token)
            raise
        finally:
            if wire is not None:
                wire.close()

    def refused(self, reason: str) -> EtcdError:
        """What a watch cancelled for `reason` means: etcd 3.5 tells a stale token as "permission denied", too, so that
        only a fresh token's refusal is final."""
        if self._user is not None and time.monotonic() - self._token_at > TOKEN_FRESH_S:
            self._forget(self._token)
            return Unavailable(f"watch cancelled: {reason}")
        return Unauthorized(f"etcd refuses the watch: {reason}", hint="The user needs read access to the prefix.")

    def _metadata(self, *, leader: bool = True) -> tuple[tuple[str, str], ...]:
        """`hasleader`: a member cut off refuses instead of hanging. The token is here as call credentials need TLS."""
        wanted = (("hasleader", "true"),) if leader else ()
        return (*wanted, ("token", self._token)) if self._token else wanted

    async def _ready_token(self, member: Member) -> str:
        """The token, got first if there is none. Raises AioRpcError."""
        if self._user is None or self._token:
            return self._token
        async with self._authenticating:
            if not self._token and self._user is not None:
                await self._authenticate(member, *self._user)
        return self._token

    async def _authenticate(self, member: Member, name: str, password: str) -> None:
        request = pb.AuthenticateRequest(name=name, password=password)
        try:
            answer = await member.unary["Authenticate"](request, timeout=self._attempt_s)
        except grpc.aio.AioRpcError as err:
            if not (self._user_optional and _NO_AUTH in words(err)):
                raise
            self._user = None
        else:
            self._token, self._token_at = answer.token, time.monotonic()

    def _leave(self, member: Member, token: str) -> None:
        """It did not answer. Its token goes, too: a store that was begun anew, or restored, says nothing at all to one
        that is ahead of its raft index."""
        self.members.leave(member)
        self._forget(token)

    def _forget(self, token: str) -> None:
        """Get another token next time, unless somebody else already did."""
        if self._token == token:
            self._token = ""

    def _is_stale(self, err: grpc.aio.AioRpcError) -> bool:
        said = words(err).lower()
        return self._user is not None and any(text in said for text in _STALE_TOKEN)


def words(err: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(err, grpc.aio.AioRpcError):
        return f"{err.details() or err.code().name}"
    return "it did not answer in time" if isinstance(err, TimeoutError) else str(err) or type(err).__name__


def _is_transient(err: grpc.aio.AioRpcError) -> bool:
    """Whether the member is at fault, and not the request."""
    return err.code() in _TRANSIENT or any(text in words(err).lower() for text in _BROKEN_STREAM)


def _never_sent(err: grpc.aio.AioRpcError) -> bool:
    said = words(err).lower()
    return err.code() is not grpc.StatusCode.DEADLINE_EXCEEDED and any(text in said for text in _NEVER_SENT)


def _mapped(err: grpc.aio.AioRpcError, request: Any) -> EtcdError:
    said = words(err)
    if "requested lease not found" in said:
        return LeaseGone(getattr(request, "ID", 0) or getattr(request, "lease", 0))
    if "user name is empty" in said:
        return Unauthorized("etcd asks for a user", hint="Give a user and a password.")
    if _NO_AUTH in said:
        return Unauthorized("etcd has no authentication, but a user was given", hint="Enable it, or give no user.")
    if err.code() in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED) or "authentication" in said:
        return Unauthorized(f"etcd refuses: {said}", hint="Check the user, its password and its roles.")
    if "database space exceeded" in said:
        return Refused("etcd's database is full", hint="Compact and defragment it, then `etcdctl alarm disarm`.")
    return Refused(f"etcd refuses: {said}")
