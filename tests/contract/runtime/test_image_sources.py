"""One suite for every form in which an image comes: the same files and settings, whatever brought it."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from runtime.errors import InvalidImage
from runtime.images import archive, manifest
from runtime.images.blobs import Blobs
from runtime.images.build import LayerFiles, build_image, link
from runtime.images.layers import Layers
from runtime.images.reference import parse
from runtime.images.registry import Registry
from runtime.images.store import ImageStore
from runtime.model import Image, ImageConfig
from tests.integration.runtime.oci_registry import FakeRegistry

CONFIG = ImageConfig(("/e",), ("c",), {"A": "1"}, "7:8", "/w", ("80/tcp",), "SIGINT", {"l": "x"})
FILES: Sequence[LayerFiles] = (
    {"a": b"lower\n", "d/b": b"b\n", "gone": b"x"},
    {"a": b"upper\n", ".wh.gone": b"", "l": link("d/b")},
)

Bring = Callable[[ImageStore, Path, Path], list[Image]]


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    for part in ("images", "layers", "locks"):
        (tmp_path / "store" / part).mkdir(parents=True)
    root = tmp_path / "store"
    return ImageStore(root / "images", Layers(root / "layers", root / "locks"), root / "locks")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    build_image(tmp_path / "layout", "team/app:1", FILES, CONFIG)
    return tmp_path / "layout"


def from_directory(store: ImageStore, layout: Path, work: Path) -> list[Image]:
    return archive.load(store, layout)


def from_oci_archive(store: ImageStore, layout: Path, work: Path) -> list[Image]:
    return archive.load(store, tar_of(layout, work / "image.tar"))


def from_gzipped_archive(store: ImageStore, layout: Path, work: Path) -> list[Image]:
    plain = tar_of(layout, work / "image.tar")
    (work / "image.tar.gz").write_bytes(gzip.compress(plain.read_bytes()))
    return archive.load(store, work / "image.tar.gz")


def from_docker_save(store: ImageStore, layout: Path, work: Path) -> list[Image]:
    """The old form: manifest.json, a configuration, and an uncompressed tar for each layer."""
    saved = work / "saved"
    saved.mkdir()
    blobs = Blobs(layout)
    index = json.loads((layout / "index.json").read_text())
    read = manifest.parse(blobs.read(index["manifests"][0]["digest"]), "m")
    (saved / "config.json").write_bytes(blobs.read(read["config"]["digest"]))
    names = []
    for i, layer in enumerate(read["layers"]):
        (saved / f"{i}").mkdir()
        (saved / f"{i}/layer.tar").write_bytes(gzip.decompress(blobs.read(layer["digest"])))
        names.append(f"{i}/layer.tar")
    entry = {"Config": "config.json", "RepoTags": ["team/app:1"], "Layers": names}
    (saved / "manifest.json").write_text(json.dumps([entry]))
    return archive.load(store, tar_of(saved, work / "saved.tar"))


def from_registry(store: ImageStore, layout: Path, work: Path) -> list[Image]:
    with FakeRegistry(layout, {"team/app:1": "team/app:1"}) as registry:
        return [Registry(store, work, work, work / "none.toml", {}).pull(parse(f"{registry.address}/team/app:1"))]


SOURCES = [from_directory, from_oci_archive, from_gzipped_archive, from_docker_save, from_registry]


@pytest.mark.parametrize("bring", SOURCES)
def test_the_same_image(store: ImageStore, layout: Path, tmp_path: Path, bring: Bring) -> None:
    (image,) = bring(store, layout, tmp_path)
    assert image.config == CONFIG
    assert image.ref.endswith("/team/app:1")
    assert store.find(parse(image.ref)) == image
    upper, lower = (tmp_path / "store/layers" / name for name in store.layer_names(image.digest))
    assert (upper / "a").read_bytes() == b"upper\n" and (lower / "a").read_bytes() == b"lower\n"
    assert os.readlink(upper / "l") == "d/b"
    assert (upper / "gone").is_char_device()
    if bring is not from_docker_save:
        assert image.digest == json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]


@pytest.mark.parametrize("bring", SOURCES)
def test_bringing_it_again_changes_nothing(store: ImageStore, layout: Path, tmp_path: Path, bring: Bring) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    first, second = bring(store, layout, tmp_path / "1"), bring(store, layout, tmp_path / "2")
    assert {i.digest for i in first} == {i.digest for i in second}
    assert len(os.listdir(tmp_path / "store/layers")) == 2


@pytest.mark.parametrize("content", [b"", b"text", b"\x1f\x8bnot gzip", b"\0" * 10240])
def test_what_is_no_image(store: ImageStore, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InvalidImage):
        archive.load(store, tmp_path / "file")
    with pytest.raises(InvalidImage):
        archive.load(store, tmp_path / "store")
    with pytest.raises(InvalidImage):
        archive.load(store, tmp_path / "none")


def tar_of(directory: Path, target: Path) -> Path:
    with tarfile.open(target, "w") as tar:
        tar.add(directory, ".")
    return target
