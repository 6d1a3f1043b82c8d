"""Users, tokens and certificates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from etcdkit import TLS, Client, Lease, Mirror, Unauthorized, Unavailable
from tests.fakes.becoming import becomes
from tests.fakes.etcd_server import Certificates, EtcdServer

ROOT = ("root", "secret")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[EtcdServer]:
    """An etcd that asks for users: root, and `reader` who may read /app/ only."""
    server = EtcdServer(tmp_path).start()
    try:
        server.etcdctl("user", "add", "root", "--new-user-password=secret")
        server.etcdctl("user", "grant-role", "root", "root")
        server.etcdctl("role", "add", "reading")
        server.etcdctl("role", "grant-permission", "reading", "read", "--prefix=true", "/app/")
        server.etcdctl("user", "add", "reader", "--new-user-password=reads")
        server.etcdctl("user", "grant-role", "reader", "reading")
        server.etcdctl("auth", "enable")
        yield server
    finally:
        server.kill()


@pytest.mark.parametrize("user", [None, ("root", "wrong"), ("nobody", "secret")])
async def test_who_is_not_known_is_unauthorized_and_told_so(guarded: EtcdServer, user: tuple[str, str] | None) -> None:
    async with Client([guarded.endpoint], user=user) as client:
        with pytest.raises(Unauthorized) as refused:
            await client.get("/app/x")
        assert refused.value.hint
        async with Mirror(client, "/app/") as mirror:
            with pytest.raises(Unauthorized):
                await mirror.ready()


async def test_a_user_has_only_its_rights(guarded: EtcdServer) -> None:
    async with Client([guarded.endpoint], user=("reader", "reads")) as client:
        assert await client.get("/app/x") is None
        with pytest.raises(Unauthorized):
            await client.put("/app/x", b"")
        with pytest.raises(Unauthorized):
            async with aclosing(client.watch_prefix("/other/", 1)) as batches:
                await asyncio.wait_for(anext(batches), 30)


async def test_tokens_that_a_restart_forgot_are_got_again(guarded: EtcdServer) -> None:
    async with Client([guarded.endpoint], user=ROOT) as client, Mirror(client, "/app/") as mirror:
        await mirror.ready()
        await client.put("/app/x", b"1")
        await becomes(lambda: "/app/x" in mirror.snapshot().entries)
        async with Lease(client, 10) as lease:
            guarded.kill()
            guarded.start()
            await client.put("/app/x", b"2", repeatable=True)
            await becomes(lambda: mirror.snapshot().entries["/app/x"].value == b"2")
            before = lease.deadline
            await becomes(lambda: lease.deadline > before)


@pytest.mark.parametrize("loss", ["restored", "wiped"])
async def test_tokens_of_a_store_that_is_no_more_are_got_again(guarded: EtcdServer, tmp_path: Path, loss: str) -> None:
    """A token names the raft index it was made at, and etcd answers nothing to one that is ahead of its own."""
    guarded.stop()
    guarded.save(tmp_path / "backup")
    guarded.start()
    for number in range(80):
        guarded.etcdctl("put", f"/app/{number % 3}", "x", user="root:secret")
    async with Client([guarded.endpoint], user=ROOT, user_optional=True) as client, Mirror(client, "/app/") as mirror:
        await mirror.ready()
        guarded.kill()
        if loss == "restored":
            guarded.restore(tmp_path / "backup")
        else:
            guarded.wipe()
        guarded.start()
        begun_s = time.monotonic()
        await becomes(lambda: mirror.snapshot().epoch == 1 and mirror.connected)
        assert time.monotonic() - begun_s < 2.0
        assert not mirror.snapshot().entries
        await client.put("/app/y", b"1", repeatable=True)
        await becomes(lambda: "/app/y" in mirror.snapshot().entries)


async def test_a_mirror_that_was_refused_works_once_it_may(guarded: EtcdServer) -> None:
    async with Client([guarded.endpoint], user=("reader", "reads")) as client, Mirror(client, "/other/") as mirror:
        with pytest.raises(Unauthorized):
            await mirror.ready()
        guarded.etcdctl("role", "grant-permission", "reading", "read", "--prefix=true", "/other/", user="root:secret")
        await becomes(lambda: mirror.connected)
        await mirror.ready()


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[EtcdServer]:
    server = EtcdServer(tmp_path_factory.mktemp("tls"), certificates=certificates).start()
    try:
        yield server
    finally:
        server.kill()


async def test_tls_with_certificates_on_both_sides(encrypted: EtcdServer, certificates: Certificates) -> None:
    tls = TLS(*(p.read_bytes() for p in (certificates.ca, certificates.client, certificates.client_key)))
    async with Client([encrypted.url], tls=tls) as client, Mirror(client, "/") as mirror:
        await mirror.ready()
        await client.put("/secret", b"x")
        await becomes(lambda: "/secret" in mirror.snapshot().entries)


@pytest.mark.parametrize("trusts", ["nobody of ours", "the server, but shows no certificate"])
async def test_tls_that_does_not_fit_is_unavailable_and_says_why(
    encrypted: EtcdServer, certificates: Certificates, trusts: str
) -> None:
    tls = TLS(None) if trusts == "nobody of ours" else TLS(certificates.ca.read_bytes())
    async with Client([encrypted.url], tls=tls, timeout_s=3.0) as client:
        with pytest.raises(Unavailable) as refused:
            await client.get("/secret")
    assert "TLS" in refused.value.hint
