"""What is redis's own: separators, hashes, databases, passwords, and a server that goes away."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from confd_py.errors import ConfigFault, StoreRefused, StoreUnavailable
from confd_py.store import Batch
from confd_py.stores.redis import RedisStore
from tests.contract.confd_py.test_stores import until, values_of
from tests.fakes.redis_server import RedisServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    found = RedisServer(tmp_path)
    try:
        yield found.start()
    finally:
        found.kill()


async def test_strings_hashes_and_their_paths(server: RedisServer) -> None:
    server.cli("mset", "/app/name", "web", "/apple", "x", "/one", "1")
    server.cli("hset", "/hash", "a", "1", "b", "2")
    store = RedisStore([server.node])
    try:
        assert values_of(await store.read(("/app",))) == {"/app/name": "web"}
        assert values_of(await store.read(("/one", "/hash"))) == {"/one": "1", "/hash/a": "1", "/hash/b": "2"}
        assert values_of(await store.read(("/",))) == {"/app/name": "web", "/apple": "x", "/one": "1"}
    finally:
        await store.close()


async def test_a_separator_stands_for_the_slash(server: RedisServer) -> None:
    server.cli("mset", "app:name", "web", "app:db:host", "h")
    store = RedisStore(["127.0.0.1:1", server.node], separator=":")
    try:
        assert values_of(await store.read(("/app",))) == {"/app/name": "web", "/app/db/host": "h"}
    finally:
        await store.close()


async def test_a_database_of_its_own_is_read_and_followed(server: RedisServer) -> None:
    server.cli("-n", "3", "set", "/app/name", "third")
    store = RedisStore([f"{server.node}/3"])
    got: list[Batch] = []
    task = asyncio.create_task(store.follow(("/app",), got.append))
    try:
        await until(lambda: got)
        assert values_of(got[0]) == {"/app/name": "third"}
        server.cli("-n", "3", "set", "/app/name", "next")
        await until(lambda: len(got) > 1 and values_of(got[-1]) == {"/app/name": "next"})
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await store.close()


@pytest.mark.parametrize("harm", ["kill", "freeze", "no notifications"])
async def test_changes_come_through_whatever_happens(tmp_path: Path, harm: str) -> None:
    server = RedisServer(tmp_path, notify=harm != "no notifications").start()
    server.cli("set", "/app/name", "old")
    store = RedisStore([server.node])
    got: list[Batch] = []
    task = asyncio.create_task(store.follow(("/app",), got.append))
    try:
        await until(lambda: got)
        if harm == "kill":
            server.kill()
            await asyncio.sleep(0.5)
            server.start()
        elif harm == "freeze":
            server.signal(signal.SIGSTOP)
            await asyncio.sleep(0.5)
            server.signal(signal.SIGCONT)
        server.cli("set", "/app/name", "new")
        await until(lambda: any(c.new and c.new.value == "new" for batch in got[1:] for c in batch.changes))
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await store.close()
        server.kill()


@pytest.mark.parametrize("away", [False, True])
async def test_an_end_that_the_library_swallows_is_an_end(monkeypatch: pytest.MonkeyPatch, away: bool) -> None:
    store = RedisStore(["127.0.0.1:1"])

    async def bell(_: object) -> AsyncIterator[None]:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            if away:
                raise StoreUnavailable("it is gone")
            yield

    async def nothing(_: object) -> dict[str, str]:
        return {}

    monkeypatch.setattr(store, "_bell", bell)
    monkeypatch.setattr(store, "_values", nothing)
    task = asyncio.create_task(store.follow(("/app",), lambda _: None))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=10)
    assert task.cancelled()


async def test_a_password_is_used_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, password="secret").start()
    server.cli("set", "/app/name", "web")
    try:
        for password in ("", "wrong"):
            with pytest.raises(StoreRefused, match="redis refused"):
                await RedisStore([server.node], password=password).read(("/app",))
        store = RedisStore([server.node], password="secret")
        assert values_of(await store.read(("/app",))) == {"/app/name": "web"}
        await store.close()
    finally:
        server.kill()


async def test_nobody_there_and_no_address() -> None:
    with pytest.raises(StoreUnavailable, match="redis does not answer"):
        await RedisStore(["127.0.0.1:1"]).read(("/app",))
    with pytest.raises(ConfigFault, match="is no address of redis"):
        RedisStore(["127.0.0.1:port"])
