"""Redis: strings below a path, and hashes whose fields are the names below their key.

Changes are followed by keyspace notifications where the server sends them, and by reading all again where it does not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from redis import asyncio as client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from confd_py.errors import ConfigFault, StoreRefused, StoreUnavailable
from confd_py.keyspace import covers
from confd_py.store import Batch, Cause, Change, Entry, LeaseFate

_log = logging.getLogger("confd-py")
_ANSWER_S = 5.0
_LOOK_AGAIN_S = 1.0  # a server that sends no notifications, or has gone, is asked this often
_SETTLE_S = 0.01  # what is written together is read together


class RedisStore:
    """`nodes` are "host:port", "host:port/database" or paths of Unix sockets; the first that answers is used."""

    def __init__(self, nodes: Sequence[str], *, password: str = "", separator: str = "") -> None:
        self._addresses = [_address(node) for node in nodes]
        self._password = password or None
        self._separator = separator or "/"
        self._current: client.Redis | None = None
        self._database = 0
        self.trouble = ""

    async def read(self, keys: Sequence[str]) -> Batch:
        values = await self._values(keys)
        return Batch(1, tuple(Change(key, None, Entry(value), "first") for key, value in sorted(values.items())))

    async def follow(self, keys: Sequence[str], deliver: Callable[[Batch], None]) -> None:
        known: dict[str, str] | None = None
        revision = 0
        while True:
            try:
                async for _ in self._bell(keys):
                    values = await self._values(keys)
                    if values != known:
                        revision += 1
                        deliver(Batch(revision, _changes(known, values)))
                        known = values
                    self.trouble = ""
            except StoreUnavailable as err:
                if err.brief != self.trouble:
                    self.trouble = err.brief
                    _log.warning("the store does not answer: %s", err.brief)
                await asyncio.sleep(_LOOK_AGAIN_S)

    def covers(self, paths: Sequence[str], key: str) -> bool:
        return covers(tuple(paths), key)

    async def lease_fate(self, lease: int) -> LeaseFate:
        return "alive"

    async def close(self) -> None:
        if self._current is not None:
            await self._current.aclose()
            self._current = None

    async def _bell(self, keys: Sequence[str]) -> AsyncIterator[None]:
        """Rings at once, then after every change the server tells of, and every second besides."""
        redis = await self._connected()
        async with redis.pubsub() as listener:
            try:
                await listener.psubscribe(f"__keyspace@{self._database}__:*")
                yield
                while True:
                    if await listener.get_message(ignore_subscribe_messages=True, timeout=_LOOK_AGAIN_S) is not None:
                        await asyncio.sleep(_SETTLE_S)
                        while await listener.get_message(ignore_subscribe_messages=True, timeout=0) is not None:
                            pass
                    yield
            except (RedisError, OSError) as err:
                raise await self._gone(err) from err

    async def _values(self, keys: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        redis = await self._connected()
        try:
            for key in keys:
                found.update(await self._below(redis, key))
        except (RedisError, OSError) as err:
            raise await self._gone(err) from err
        return found

    async def _below(self, redis: client.Redis, key: str) -> Mapping[str, str]:
        """What stands at `key` itself, if it is a string or a hash, else the strings below it."""
        own = self._own(key)
        kind = await redis.type(own)
        if kind == "string":
            return {key: str(await redis.get(own) or "")}
        if kind == "hash":
            fields = await redis.hgetall(own)
            return {self._path(own + "/" + str(name)): str(value) for name, value in fields.items()}
        pattern = "*" if key == "/" else _escaped(own) + self._separator + "*"
        names = [name async for name in redis.scan_iter(match=pattern, count=1000, _type="string")]
        values = await redis.mget(names) if names else []
        return {self._path(str(name)): str(text) for name, text in zip(names, values, strict=True) if text is not None}

    def _own(self, path: str) -> str:
        return path if self._separator == "/" else path.removeprefix("/").replace("/", self._separator)

    def _path(self, own: str) -> str:
        return ("" if own.startswith("/") else "/") + own.replace(self._separator, "/")

    async def _connected(self) -> client.Redis:
        if self._current is not None:
            return self._current
        fault: Exception | None = None
        for address in self._addresses:
            redis = client.Redis(
                **address,
                password=self._password,
                socket_timeout=_ANSWER_S,
                socket_connect_timeout=_ANSWER_S,
                decode_responses=True,
                retry=Retry(NoBackoff(), 0),  # whoever asks tries again, and says so meanwhile
                encoding_errors="surrogateescape",
            )
            try:
                await redis.ping()
            except (RedisError, OSError) as err:
                await redis.aclose()
                fault = err
            else:
                self._current, self._database = redis, address.get("db", 0)
                return redis
        raise _error(fault or OSError("there is no node")) from fault

    async def _gone(self, err: Exception) -> StoreUnavailable | StoreRefused:
        await self.close()
        return _error(err)


def _error(err: Exception) -> StoreUnavailable | StoreRefused:
    if isinstance(err, AuthenticationError | ResponseError):  # the former is a kind of ConnectionError
        return StoreRefused(f"redis refused: {err}", hint="Check -password.")
    return StoreUnavailable(f"redis does not answer: {err}", hint="Check -node.")


def _address(node: str) -> dict[str, Any]:
    if Path(node).is_socket():
        return {"unix_socket_path": node}
    place, _, database = node.partition("/")
    host, _, port = place.rpartition(":")
    if not (host or not port) or not (port or "6379").isdigit() or not (database or "0").isdigit():
        raise ConfigFault(f"-node {node!r} is no address of redis", hint="host:port, or host:port/database.")
    return {"host": host or "127.0.0.1", "port": int(port or 6379), "db": int(database or 0)}


def _escaped(text: str) -> str:
    return "".join("\\" + char if char in "*?[]\\" else char for char in text)


def _changes(old: Mapping[str, str] | None, new: Mapping[str, str]) -> tuple[Change, ...]:
    before = old or {}
    cause: Cause = "first" if old is None else "event"
    keys = sorted(key for key in before.keys() | new.keys() if before.get(key) != new.get(key))
    return tuple(Change(key, _entry(before, key), _entry(new, key), cause) for key in keys)


def _entry(values: Mapping[str, str], key: str) -> Entry | None:
    return Entry(values[key]) if key in values else None
