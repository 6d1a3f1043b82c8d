"""Redis: strings below a path, and hashes whose fields are the names below their key.

Changes are followed by keyspace notifications where the server sends them, and by reading all again where it does not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from redis import asyncio as client
from redis.exceptions import RedisError

from confd_py.errors import StoreUnavailable
from confd_py.keyspace import covers
from confd_py.store import Batch, LeaseFate, changes_between
from confd_py.stores.redis_server import RedisServer

_log = logging.getLogger("confd-py")
_LOOK_AGAIN_S = 1.0  # a server that sends no notifications, or has gone, is asked this often
_SETTLE_S = 0.01  # what is written together is read together


class RedisStore:
    """`nodes` as RedisServer has them; `separator` stands in names where a path has its slashes."""

    def __init__(self, nodes: Sequence[str], *, password: str = "", separator: str = "") -> None:
        self._server = RedisServer(nodes, password)
        self._separator = separator or "/"
        self.trouble = ""

    async def read(self, keys: Sequence[str]) -> Batch:
        values = await self._values(keys)
        return Batch(1, changes_between(None, values))

    async def follow(self, keys: Sequence[str], deliver: Callable[[Batch], None]) -> None:
        known: dict[str, str] | None = None
        revision = 0
        while True:
            _end_if_told()
            try:
                async for _ in self._bell(keys):
                    _end_if_told()
                    values = await self._values(keys)
                    if values != known:
                        revision += 1
                        deliver(Batch(revision, changes_between(known, values)))
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
        await self._server.close()

    async def _bell(self, keys: Sequence[str]) -> AsyncIterator[None]:
        """Rings at once, then after every change the server tells of, and every second besides."""
        redis = await self._server.connected()
        async with redis.pubsub() as listener:
            try:
                await listener.psubscribe(f"__keyspace@{self._server.database}__:*")
                yield
                while True:
                    if await listener.get_message(ignore_subscribe_messages=True, timeout=_LOOK_AGAIN_S) is not None:
                        await asyncio.sleep(_SETTLE_S)
                        while await listener.get_message(ignore_subscribe_messages=True, timeout=0) is not None:
                            pass
                    yield
            except (RedisError, OSError) as err:
                raise await self._server.gone(err) from err

    async def _values(self, keys: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        redis = await self._server.connected()
        try:
            for key in keys:
                found.update(await self._below(redis, key))
        except (RedisError, OSError) as err:
            raise await self._server.gone(err) from err
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


def _end_if_told() -> None:
    """Raises CancelledError in a task that was cancelled and goes on: redis-py (8.1) has eaten it, now and then."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _escaped(text: str) -> str:
    return "".join("\\" + char if char in "*?[]\\" else char for char in text)
