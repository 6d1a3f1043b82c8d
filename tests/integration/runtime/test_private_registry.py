"""Pulls from a private registry: TLS by a private CA, passwords, tokens, mirrors, broken downloads."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.errors import CredentialsUnreadable, ImageNotFound, RegistryDenied, RegistryUnavailable, RegistryUntrusted
from runtime.host import Host
from runtime.images.build import LayerFiles, build_image
from runtime.model import Fetching
from tests.fakes.ports import free_port
from tests.integration.runtime.conftest import BASE, IMAGE, Root
from tests.integration.runtime.private_registry import PASSWORD, TEMPLATES, USER, PrivateRegistry, TokenServer

LARGE_BYTES = 6 << 20


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory, layout: Path) -> Iterator[PrivateRegistry]:
    """A private registry with team/app:1 (the test image), :2 (as Docker pushes it), :large, :large-too."""
    folder = tmp_path_factory.mktemp("pushed")
    large: LayerFiles = {**BASE, "big": os.urandom(LARGE_BYTES)}
    for name in ("large", "large-too"):
        build_image(folder / "large", name, [large, {"name": name.encode()}])
    folder.chmod(0o755)
    folder.parent.chmod(0o755)
    with PrivateRegistry(folder / "registry") as registry:
        registry.push(layout, IMAGE, "team/app:1")
        registry.push(layout, IMAGE, "team/app:2", "--format=v2s2")
        registry.push(folder / "large", "large", "team/app:large")
        registry.push(folder / "large", "large-too", "team/app:large-too")
        yield registry


class Client:
    """A host whose home and settings the test writes."""

    def __init__(self, root: Root, folder: Path, environ: pytest.MonkeyPatch) -> None:
        self.home, self.certs, self._settings = folder / "home", folder / "certs.d", folder / "images.toml"
        self.home.mkdir()
        environ.setenv("HOME", str(self.home))
        environ.setenv("XDG_RUNTIME_DIR", str(self.home))
        environ.delenv("DOCKER_CONFIG", raising=False)
        self.write()
        self.host = Host.open(root.lib, root.run, root.subnet, root.bridge, self._settings)

    def write(self, more: str = "") -> None:
        self._settings.write_text(f'certs = ["{self.certs}"]\n{more}')

    def log_in(self, address: str, password: str = PASSWORD) -> None:
        pair = base64.b64encode(f"{USER}:{password}".encode()).decode()
        self.docker({"auths": {address: {"auth": pair}}})

    def docker(self, config: object) -> None:
        (self.home / ".docker").mkdir(exist_ok=True)
        (self.home / ".docker/config.json").write_text(json.dumps(config))


@pytest.fixture
def client(root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    found = Client(root, tmp_path, monkeypatch)
    yield found
    found.host.close()


@pytest.fixture
def ready(client: Client, pushed: PrivateRegistry) -> Client:
    """A client that trusts the registry and is logged in."""
    pushed.trust(client.certs)
    client.log_in(pushed.address)
    return client


@pytest.mark.parametrize("tag", ["1", "2"])
def test_a_pull_with_a_private_ca_and_a_password(ready: Client, pushed: PrivateRegistry, tag: str) -> None:
    ref = f"{pushed.address}/team/app:{tag}"
    resolved, pulled = ready.host.images.resolve(ref), ready.host.images.pull(ref)
    assert (pulled.digest, pulled.config) == (resolved.digest, resolved.config)
    assert [i.ref for i in ready.host.images.list()] == [ref]


def test_a_wrong_password_and_none_at_all_are_told(ready: Client, pushed: PrivateRegistry) -> None:
    ref = f"{pushed.address}/team/app:1"
    ready.log_in(pushed.address, "mistaken")
    with pytest.raises(RegistryDenied, match=f"refuses team/app to user '{USER}' of .*/.docker/config.json") as caught:
        ready.host.images.pull(ref)
    assert f"docker login {pushed.address}" in caught.value.hint
    assert "mistaken" not in str(vars(caught.value))
    ready.docker({})
    with pytest.raises(RegistryDenied, match="wants credentials") as caught:
        ready.host.images.pull(ref)
    assert f"docker login {pushed.address}" in caught.value.hint


def test_a_certificate_of_another_ca_is_told(ready: Client, pushed: PrivateRegistry) -> None:
    other = (ready.home / "other").absolute()

    os.spawnv(os.P_WAIT, TEMPLATES / "make-certificates", ["make-certificates", str(other), "127.0.0.1"])
    (ready.certs / pushed.address / "ca.crt").write_bytes((other / "ca.crt").read_bytes())
    with pytest.raises(RegistryUntrusted, match=f"certificate of {pushed.address} is not trusted") as caught:
        ready.host.images.pull(f"{pushed.address}/team/app:1")
    assert f"certs.d/{pushed.address}/ca.crt" in caught.value.hint


@pytest.mark.parametrize("setting", ["credHelpers", "credsStore"])
def test_a_credential_helper_is_asked(
    ready: Client, pushed: PrivateRegistry, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    ready.docker({setting: {pushed.address: "vault"} if setting == "credHelpers" else "vault"})
    ref = f"{pushed.address}/team/app:1"
    with pytest.raises(CredentialsUnreadable, match="docker-credential-vault is not installed"):
        ready.host.images.pull(ref)
    helper = ready.home / "docker-credential-vault"
    answer = json.dumps({"ServerURL": pushed.address, "Username": USER, "Secret": PASSWORD})
    helper.write_text(
        f"#!/bin/sh\nread server\n[ \"$1 $server\" = 'get {pushed.address}' ] && echo '{answer}' && exit\n"
        "echo credentials not found in native keychain; exit 1\n"
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ready.home}:{os.environ['PATH']}")
    assert ready.host.images.pull(ref).ref == ref


def test_what_the_registry_lacks_is_told(ready: Client, pushed: PrivateRegistry) -> None:
    with pytest.raises(ImageNotFound, match="team/app:none"):
        ready.host.images.pull(f"{pushed.address}/team/app:none")


def test_token_auth(client: Client, layout: Path, tmp_path: Path) -> None:
    with TokenServer(tmp_path / "tokens") as tokens, PrivateRegistry(tmp_path / "registry", tokens) as registry:
        registry.push(layout, IMAGE, "team/app:1")
        registry.trust(client.certs)
        client.log_in(registry.address)
        tokens.granted.clear()
        assert client.host.images.pull(f"{registry.address}/team/app:1")
        assert set(tokens.granted) == {"repository:team/app:pull"}
        client.log_in(registry.address, "wrong")
        with pytest.raises(RegistryDenied, match=f"user '{USER}'"):
            client.host.images.pull(f"{registry.address}/team/app:1", refresh=True)


def test_pulls_at_once_share_one_download(ready: Client, pushed: PrivateRegistry, root: Root) -> None:
    before = len(pushed.gets())
    refs = [
        f"{pushed.address}/team/app:{tag}" for tag in ("large", "large", "large-too", "large", "large-too", "large")
    ]
    with ThreadPoolExecutor(len(refs)) as pool:
        digests = [image.digest for image in pool.map(lambda ref: ready.host.images.pull(ref, refresh=True), refs)]
    assert len(set(digests)) == 2
    fetched = pushed.gets()[before:]
    assert len(fetched) == len(set(fetched)) == 5, "two configurations, one shared layer and one each"


def test_a_download_that_breaks_off_goes_on(client: Client, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    build_image(tmp_path / "large", "big", [{"small": b"x"}, {"big": os.urandom(LARGE_BYTES)}])
    with PrivateRegistry(tmp_path / "registry") as registry:
        registry.push(tmp_path / "large", "big", "team/big:1")
        registry.trust(client.certs)
        client.log_in(registry.address)
        registry.kill_nginx()
        registry.slow_down("1m")
        registry.start_nginx()
        begun, seen = threading.Event(), []

        def progress(now: Fetching) -> None:
            seen.append(now)
            if 1 << 20 < now.done_bytes < now.total_bytes:
                begun.set()

        with ThreadPoolExecutor(1) as pool:
            pull = pool.submit(client.host.images.pull, f"{registry.address}/team/big:1", progress=progress)
            assert begun.wait(30)
            registry.kill_nginx()
            registry.slow_down("0")
            registry.start_nginx()
            assert pull.result(timeout=120).ref.endswith("big:1")
        fetched = registry.gets()
        assert len(fetched) == len(set(fetched)) == 3, "what was whole is not fetched again"
        assert seen[-1].done_bytes == seen[-1].total_bytes > LARGE_BYTES


def test_a_registry_that_stays_away_is_told(client: Client) -> None:
    with pytest.raises(RegistryUnavailable, match="cannot be read"):
        client.host.images.pull(f"127.0.0.1:{free_port()}/team/app:1")


def test_mirrors_are_asked_first(ready: Client, pushed: PrivateRegistry, tmp_path: Path) -> None:
    away = f"127.0.0.1:{free_port()}"
    ready.write(f'[mirrors]\n"registry.invalid" = ["{away}", "{pushed.address}/team"]\n')
    image = ready.host.images.pull("registry.invalid/app:1")
    assert image.ref == "registry.invalid/app:1"
    ready.write(f'[mirrors]\n"{pushed.address}" = ["{away}"]\n')
    assert ready.host.images.pull(f"{pushed.address}/team/app:1").digest == image.digest
    with pytest.raises(ImageNotFound) as caught:
        ready.host.images.pull(f"{pushed.address}/team/app:none")
    assert any(line.startswith(f"mirror {away}: ") for line in caught.value.details)
