"""The registry over TLS, with a user, with several endpoints; and an etcd that refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from registrator.config import EtcdAccess
from registrator.errors import RegistryRefused, RegistryUnavailable
from registrator.registry.etcd import open_store
from registrator.registry.store import Put
from tests.fakes.etcd_server import EtcdServer


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[EtcdServer]:
    """An etcd that asks for the user root."""
    server = EtcdServer(tmp_path).start()
    try:
        server.etcdctl("user", "add", "root:secret")
        server.etcdctl("user", "grant-role", "root", "root")
        server.etcdctl("auth", "enable")
        yield server
    finally:
        server.kill()


async def test_a_user_with_the_right_password_gets_in(guarded: EtcdServer) -> None:
    async with open_store(EtcdAccess((guarded.endpoint,), user=("root", "secret")), ready_within_s=30.0) as store:
        revision = await store.commit([Put("/hecd/a", b"1")])
        while store.snapshot().revision < revision:
            await store.changed(store.snapshot().mark)
        assert store.snapshot().entries["/hecd/a"].value == b"1"


@pytest.mark.parametrize("user", [None, ("root", "wrong"), ("nobody", "secret")])
async def test_a_stranger_is_refused_with_a_reason(guarded: EtcdServer, user: tuple[str, str] | None) -> None:
    with pytest.raises(RegistryRefused) as caught:
        async with open_store(EtcdAccess((guarded.endpoint,), user=user), ready_within_s=30.0):
            pass
    assert caught.value.hint


async def test_nobody_there_is_said_within_the_time_given() -> None:
    with pytest.raises(RegistryUnavailable, match="does not answer"):
        async with open_store(EtcdAccess(("127.0.0.1:1",)), ready_within_s=1.0):
            pass


async def test_the_first_answer_is_heard_by_who_waits_for_rooms_that_are_empty(tmp_path: Path) -> None:
    server = EtcdServer(tmp_path)
    try:
        async with open_store(EtcdAccess((server.endpoint,)), wait=False) as store:
            waiting = asyncio.create_task(store.changed(store.snapshot().mark, ("claims",)))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            await asyncio.to_thread(server.start)
            await asyncio.wait_for(waiting, 40.0)
            assert store.snapshot().cluster_id
    finally:
        server.kill()


async def test_a_member_that_dies_is_left_for_the_next(tmp_path: Path) -> None:
    dead = EtcdServer(tmp_path / "dead")
    alive = EtcdServer(tmp_path / "alive").start()
    try:
        async with open_store(EtcdAccess((dead.endpoint, alive.endpoint)), ready_within_s=30.0) as store:
            async with asyncio.timeout(30.0):
                assert await store.commit([Put("/hecd/a", b"1")]) > 0
    finally:
        alive.kill()
