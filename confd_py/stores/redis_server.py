"""The Redis server that is used: the first of several that answers, until it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis import asyncio as client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from confd_py.errors import ConfigFault, StoreRefused, StoreUnavailable

_ANSWER_S = 5.0


class RedisServer:
    """`nodes` are "host:port", "host:port/database" or paths of Unix sockets. Raises ConfigFault."""

    def __init__(self, nodes: Sequence[str], password: str) -> None:
        self._addresses = [_address(node) for node in nodes]
        self._password = password or None
        self._current: client.Redis | None = None
        self.database = 0  # of the server in use

    async def connected(self) -> client.Redis:
        """A connection to the server in use. Raises StoreUnavailable, StoreRefused."""
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
                self._current, self.database = redis, address.get("db", 0)
                return redis
        raise _error(fault or OSError("there is no node")) from fault

    async def gone(self, err: Exception) -> StoreUnavailable | StoreRefused:
        """Leave the server that failed with `err`; what to raise for it."""
        await self.close()
        return _error(err)

    async def close(self) -> None:
        """Hang up; `connected` begins anew."""
        if self._current is not None:
            await self._current.aclose()
            self._current = None


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
