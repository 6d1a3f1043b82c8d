"""Images built on the spot, and what they are made of."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from runtime.errors import InvalidImage
from runtime.images import manifest
from runtime.images.blobs import Blobs
from runtime.images.build import Entry, LayerFiles, build_image, directory, link, tar_of
from runtime.images.layers import directory_name
from runtime.model import ImageConfig

CONFIG = ImageConfig(("/e",), ("c",), {"A": "1=2"}, "app", "/w", ("80/tcp",), "SIGINT", {"l": "x"})


def test_the_same_files_give_the_same_digest(tmp_path: Path) -> None:
    files: LayerFiles = {"b": b"2", "a/x": b"1", "l": link("b")}
    one = build_image(tmp_path / "one", "x:1", [files], CONFIG)
    two = build_image(tmp_path / "two", "x:1", [dict(reversed([*files.items()]))], CONFIG)
    other = build_image(tmp_path / "two", "x:1", [{**files, "b": b"3"}], CONFIG)
    assert one == two != other


def test_a_config_comes_back_as_it_was(tmp_path: Path) -> None:
    digest = build_image(tmp_path, "x:1", [{"a": b""}], CONFIG)
    blobs = Blobs(tmp_path)
    read = manifest.parse(blobs.read(digest), "m")
    config = manifest.parse(blobs.read(read["config"]["digest"]), "c")
    assert manifest.image_config(config) == CONFIG
    assert len(manifest.layers(read, config, "m")) == 1


def test_an_index_has_each_name_once(tmp_path: Path) -> None:
    for ref, content in (("x:1", b"1"), ("x:2", b"2"), ("x:1", b"3")):
        last = build_image(tmp_path, ref, [{"a": content}])
    entries = json.loads((tmp_path / "index.json").read_text())["manifests"]
    names = {e["annotations"][manifest.REF_NAME]: e["digest"] for e in entries}
    assert len(entries) == 2 and names["x:1"] == last


def test_what_a_tar_has(tmp_path: Path) -> None:
    (tmp_path / "tool").write_bytes(b"tool")
    (tmp_path / "tool").chmod(0o700)
    files: LayerFiles = {
        "/d/e/f": b"x",
        "tool": tmp_path / "tool",
        "d": directory(0o1777),
        "s": link("/d"),
        "o": Entry(b"y", 0o4600, uid=5, gid=6),
    }
    with tarfile.open(fileobj=io.BytesIO(tar_of(files))) as tar:
        found = {m.name: m for m in tar}
    assert set(found) == {"d", "d/e", "d/e/f", "o", "s", "tool"}
    assert (found["d"].mode, found["d/e"].mode, found["d/e/f"].mode, found["tool"].mode) == (
        0o1777,
        0o755,
        0o755,
        0o700,
    )
    assert (found["o"].mode, found["o"].uid, found["o"].gid) == (0o4600, 5, 6)
    assert (found["s"].issym(), found["s"].linkname) == (True, "/d")
    assert {m.mtime for m in found.values()} == {0}


def test_a_blob_is_what_its_name_says(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    digest = blobs.add(b"data")
    assert blobs.read(digest) == b"data"
    blobs.path(digest).write_bytes(b"other")
    with pytest.raises(InvalidImage, match="damaged"):
        blobs.read(digest)
    with pytest.raises(InvalidImage, match="missing"):
        blobs.read(digest)
    with pytest.raises(InvalidImage, match="damaged"):
        blobs.add_stream(io.BytesIO(b"other"), digest)
    assert blobs.all() == []
    assert list((tmp_path / "blobs/sha256").iterdir()) == []


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../etc", "md5:" + "0" * 32, "sha256:" + "A" * 64])
def test_no_digest_is_a_path(tmp_path: Path, digest: str) -> None:
    with pytest.raises(InvalidImage):
        Blobs(tmp_path).path(digest)


def test_layer_directories_are_short_and_distinct() -> None:
    names = {directory_name(manifest.digest_of(bytes([i]))) for i in range(200)}
    assert len(names) == 200 and {len(name) for name in names} == {24}


@pytest.mark.parametrize(
    ("read", "config"),
    [
        ({}, {}),
        ({"layers": []}, {"rootfs": {"diff_ids": []}}),
        ({"layers": [{"digest": "sha256:" + "0" * 64}]}, {"rootfs": {"diff_ids": []}}),
        ({"layers": [{"digest": "../x"}]}, {"rootfs": {"diff_ids": ["sha256:" + "0" * 64]}}),
        ({"layers": [None]}, {"rootfs": {"diff_ids": ["sha256:" + "0" * 64]}}),
    ],
)
def test_manifests_that_do_not_hold_together(read: dict[str, object], config: dict[str, object]) -> None:
    with pytest.raises(InvalidImage):
        manifest.layers(read, config, "m")


def test_an_index_without_this_platform_says_what_it_has() -> None:
    index = {"manifests": [{"digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": "vax"}}]}
    with pytest.raises(InvalidImage) as caught:
        manifest.for_platform(index, "x")
    assert "linux/vax" in caught.value.details[0]
