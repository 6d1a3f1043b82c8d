"""Images from disk and from registries: the same with each engine."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from runtime.errors import (
    EngineRefused,
    ImageNotFound,
    InvalidImage,
    NotHere,
    RegistryDenied,
    RegistryUnavailable,
    RuntimeFault,
)
from runtime.host import Host
from runtime.images.build import build_image
from runtime.images.catalog import Catalog
from runtime.model import ImageConfig
from tests.contract.runtime.engines.conftest import Engine, Root
from tests.fakes.ports import free_port
from tests.integration.runtime.conftest import BASE, IMAGE, finished, texts
from tests.integration.runtime.private_registry import PASSWORD, USER, PrivateRegistry


def log_in(home: Path, address: str, password: str) -> None:
    pair = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker/config.json").write_text(json.dumps({"auths": {address: {"auth": pair}}}))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "home"
    found.mkdir()
    monkeypatch.setenv("HOME", str(found))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(found))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    return found


def test_a_loaded_image_is_found_by_name_and_by_digest(host: Host) -> None:
    by_name = host.images.resolve(IMAGE)
    assert by_name.config.command[:2] == ("/bin/busybox", "httpd")
    assert host.images.resolve(by_name.digest).digest == by_name.digest == host.images.pull(IMAGE).digest
    name = by_name.ref.rpartition(":")[0]
    assert host.images.resolve(f"{name}@{by_name.digest}").digest == by_name.digest
    assert f"docker.io/{IMAGE}" in [image.ref for image in host.images.list()]
    assert finished(host, "once", "/bin/echo", "ran", image=by_name.digest).image_digest == by_name.digest
    assert texts(host, "once") == ["ran"]


def test_each_form_of_archive_is_loaded(host: Host, tmp_path: Path) -> None:
    command = ("/bin/echo", "from an archive")
    build_image(tmp_path / "layout", "hecd/other:1", [BASE, {"x": b"y"}], ImageConfig(command=command, user="app"))
    (loaded,) = host.images.load(tmp_path / "layout")
    assert (loaded.ref, loaded.config.user) == ("docker.io/hecd/other:1", "app")
    finished(host, "once", image="hecd/other:1")
    assert texts(host, "once") == ["from an archive"]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InvalidImage, match="holds no image"):
        host.images.load(tmp_path / "nothing")


def test_pulls(host: Host, engine: Engine, registry: PrivateRegistry, home: Path, root: Root) -> None:
    if engine.name == "oci":
        registry.trust(home / "certs.d")
        settings = home / "images.toml"
        settings.write_text(f'certs = ["{home}/certs.d"]\n')
        host = Host.open(root.folder / "lib", root.folder / "run", image_settings=settings)
    ref = f"{registry.address}/team/app:1"
    for password in (None, "wrong"):
        if password is not None:
            log_in(home, registry.address, password)
        with pytest.raises((RegistryDenied, RegistryUnavailable)) as told:
            host.images.pull(ref)
        if engine.name != "docker":  # on loopback Docker hides the registry's words behind those of plain HTTP
            assert isinstance(told.value, RegistryDenied)
        assert told.value.hint and told.value.retry_after_s > 0
    log_in(home, registry.address, PASSWORD)
    with pytest.raises(ImageNotFound):
        host.images.pull(f"{registry.address}/team/app:none")
    pulled = host.images.pull(ref)
    assert pulled.ref == ref and host.images.pull(ref, refresh=True).digest == pulled.digest
    assert host.images.resolve(f"{registry.address}/team/app@{pulled.digest}").digest == pulled.digest
    assert finished(host, "once", "/bin/echo", "pulled", image=pulled.digest).exit_code == 0
    with pytest.raises(RegistryUnavailable) as away:
        host.images.pull(f"127.0.0.1:{free_port()}/team/app:1")
    assert away.value.retry_after_s > 0 and not isinstance(away.value, RegistryDenied)


def test_the_digest_of_a_pulled_image_is_the_registrys_everywhere(
    host: Host, engine: Engine, registry: PrivateRegistry, home: Path, layout: Path
) -> None:
    if engine.name == "oci":
        return  # what the others are compared with is its own way of reading the layout
    log_in(home, registry.address, PASSWORD)
    wanted = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    assert host.images.pull(f"{registry.address}/team/app:1").digest == wanted


def test_care_of_images_is_the_engines(host: Host, engine: Engine) -> None:
    if engine.name == "oci":
        assert isinstance(host.catalog, Catalog)
        return
    with pytest.raises(NotHere) as told:
        host.catalog.gc()
    assert "docker image" in told.value.hint
    assert issubclass(EngineRefused, RuntimeFault)
