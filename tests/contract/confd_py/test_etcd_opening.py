"""How confd's flags find an etcd and are let in: certificates, users, SRV records; always a real etcd."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.resolver
import pytest

from confd_py.config import Config
from confd_py.errors import ConfdError, ConfigFault, StoreRefused, StoreUnavailable
from confd_py.opening import open_store
from confd_py.store import Batch
from tests.fakes.dns_server import DnsServer
from tests.fakes.etcd_server import Certificates, EtcdServer, make_certificates


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of an authority that has nothing to do with the etcd."""
    return make_certificates(tmp_path_factory.mktemp("strangers"))


@pytest.fixture
def secure(tmp_path: Path, files: Certificates) -> Iterator[EtcdServer]:
    server = EtcdServer(tmp_path, certificates=files).start()
    server.etcdctl("put", "/app/port", "8080")
    yield server
    server.kill()


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[EtcdServer]:
    server = EtcdServer(tmp_path).start()
    server.etcdctl("put", "/app/port", "8080")
    yield server
    server.kill()


async def read(keys: tuple[str, ...] = ("/",), **flags: Any) -> dict[str, str]:
    store = open_store(Config(backend="etcdv3", **flags), {})
    try:
        batch = await store.read(keys)
    finally:
        await store.close()
    return {change.key: change.new.value for change in batch.changes if change.new}


def client(files: Certificates) -> dict[str, Any]:
    """The flags of a client's own certificate."""
    return {"client_cert": str(files.client), "client_key": str(files.client_key)}


async def test_certificates(secure: EtcdServer, files: Certificates) -> None:
    for node in (secure.endpoint, secure.url):  # a node without a scheme is taken for https where there are files
        assert await read(node=(node,), client_ca_keys=str(files.ca), **client(files)) == {"/app/port": "8080"}


async def test_another_authority_is_not_trusted(
    secure: EtcdServer, files: Certificates, strangers: Certificates
) -> None:
    with pytest.raises(StoreUnavailable, match="etcd does not answer"):
        await read(node=(secure.url,), client_ca_keys=str(strangers.ca), **client(files))


async def test_without_our_certificate_etcd_lets_nobody_in(secure: EtcdServer, files: Certificates) -> None:
    """As confd: half a pair counts for nothing. And not verifying etcd does not mean that etcd verifies nobody."""
    half = read(node=(secure.url,), client_ca_keys=str(files.ca), client_cert=str(files.client))
    careless = read(node=(secure.url,), client_insecure=True)
    outcomes = await asyncio.gather(half, careless, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable, StoreUnavailable]


async def test_client_insecure_takes_any_certificate(
    secure: EtcdServer, files: Certificates, strangers: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    for ca in ("", str(strangers.ca)):
        found = await read(node=(secure.url,), client_ca_keys=ca, client_insecure=True, **client(files))
        assert found == {"/app/port": "8080"}
    assert "certificate is not verified" in caplog.text


async def test_client_insecure_follows_an_etcd_that_is_killed_and_comes_back(
    secure: EtcdServer, files: Certificates
) -> None:
    store = open_store(Config(backend="etcdv3", node=(secure.url,), client_insecure=True, **client(files)), {})
    heard: list[str] = []

    def deliver(batch: Batch) -> None:
        heard.extend(change.new.value for change in batch.changes if change.new)

    task = asyncio.create_task(store.follow(("/app",), deliver))
    try:
        await until(lambda: heard == ["8080"])
        await asyncio.to_thread(secure.etcdctl, "put", "/app/port", "1")
        await until(lambda: heard[-1] == "1")
        secure.kill()
        await asyncio.to_thread(secure.start)
        await asyncio.to_thread(secure.etcdctl, "put", "/app/port", "2")
        await until(lambda: heard[-1] == "2")
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await store.close()


@pytest.mark.parametrize("insecure", [False, True])
def test_files_that_cannot_be_used_are_named(tmp_path: Path, files: Certificates, *, insecure: bool) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    cases = [
        ((str(bad), str(bad)), r"bad\.pem with .*bad\.pem cannot be used: "),
        ((str(files.client), str(files.server_key)), r"cannot be used: KEY_VALUES_MISMATCH"),
        ((str(files.client), "/absent.key"), r"absent\.key cannot be read: No such file"),
    ]
    for (cert, key), told in cases:
        with pytest.raises(ConfigFault, match=told) as caught:
            open_store(Config(node=("https://h:1",), client_insecure=insecure, client_cert=cert, client_key=key), {})
        assert "-client-cert" in caught.value.hint


def test_an_authority_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    for name, told in (("bad.pem", "cannot be used"), ("absent.pem", "cannot be read: No such file")):
        with pytest.raises(ConfigFault, match=rf"{name} {told}"):
            open_store(Config(client_ca_keys=str(tmp_path / name)), {})


async def test_a_user(plain: EtcdServer) -> None:
    for words in (("user", "add", "root:secret"), ("role", "add", "root"), ("user", "grant-role", "root", "root")):
        plain.etcdctl(*words)
    plain.etcdctl("auth", "enable")
    user: dict[str, Any] = {"node": (plain.endpoint,), "basic_auth": True, "username": "root"}
    assert await read(**user, password="secret") == {"/app/port": "8080"}
    for wrong in ({**user, "password": "wrong"}, {"node": (plain.endpoint,)}):
        with pytest.raises(StoreRefused):
            await read(**wrong)


async def test_a_user_who_may_read_two_paths_only(plain: EtcdServer) -> None:
    rights = [("role", "grant-permission", "web", "--prefix=true", "read", path) for path in ("/app", "/zone")]
    given = [("user", "grant-role", "root", "root"), ("user", "grant-role", "web", "web")]
    made = [
        ("user", "add", "root:secret"),
        ("user", "add", "web:secret"),
        ("role", "add", "root"),
        ("role", "add", "web"),
    ]
    for words in (("put", "/zone/name", "a"), ("put", "/other", "b"), *made, *rights, *given):
        plain.etcdctl(*words)
    plain.etcdctl("auth", "enable")
    user: dict[str, Any] = {"node": (plain.endpoint,), "basic_auth": True, "username": "web", "password": "secret"}
    assert await read(keys=("/app", "/app/port", "/zone"), **user) == {"/app/port": "8080", "/zone/name": "a"}
    with pytest.raises(StoreRefused, match="permission denied") as refused:
        await read(keys=("/app", "/other"), **user)
    assert "may read /app, /other" in refused.value.hint

    store = open_store(Config(backend="etcdv3", **user), {})
    batches: list[Batch] = []
    task = asyncio.create_task(store.follow(("/zone", "/app"), batches.append))
    try:
        await until(lambda: batches)
        assert sorted(change.key for change in batches[0].changes) == ["/app/port", "/zone/name"]
        for key, value in (("/app/port", "1"), ("/zone/name", "z"), ("/other", "unseen"), ("/app/port", "2")):
            await asyncio.to_thread(plain.etcdctl, "put", key, value, user="root:secret")
        # A reader that stands still for a moment may be told of several at once.
        await until(lambda: sum(len(batch.changes) for batch in batches[1:]) == 3)
        assert [(c.key, c.new and c.new.value) for batch in batches[1:] for c in batch.changes] == [
            ("/app/port", "1"),
            ("/zone/name", "z"),
            ("/app/port", "2"),
        ]
        assert [batch.revision for batch in batches] == sorted(batch.revision for batch in batches)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await store.close()


async def test_a_user_where_etcd_asks_for_none(plain: EtcdServer) -> None:
    """As confd: no reason to refuse the service."""
    found = await read(node=(plain.endpoint,), basic_auth=True, username="root", password="secret")
    assert found == {"/app/port": "8080"}


@pytest.fixture
def names(plain: EtcdServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[DnsServer]:
    """Name servers are those of the machine; here one of our own, which knows where `plain` is."""
    record = [f"20 0 {plain.port} 127.0.0.1.", "10 0 1 127.0.0.1."]
    server = DnsServer({"_etcdv3._tcp.example.org.": record, "_mine._tcp.example.org.": record[:1]})
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], server.port
    monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
    yield server
    server.stop()


async def test_srv_records_name_the_nodes(names: DnsServer) -> None:
    """The one that is preferred is away: the next is asked."""
    assert await read(srv_domain="example.org") == {"/app/port": "8080"}
    assert await read(srv_record="_mine._tcp.example.org.", srv_domain="ignored.example") == {"/app/port": "8080"}


async def test_srv_records_that_are_not_there(names: DnsServer) -> None:
    with pytest.raises(ConfdError, match=r"Cannot get nodes from SRV records _etcdv3\._tcp\.nowhere\.org\.") as caught:
        await read(srv_domain="nowhere.org")
    assert "-srv-domain" in caught.value.hint


async def until(probe: Callable[[], object], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not probe():
            await asyncio.sleep(0.01)
