"""A disk that is full, and files that a power cut damaged: said clearly, and mended."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.errors import ContainerNotFound, RuntimeFault
from runtime.host import Host
from runtime.images.build import build_image
from tests.integration.runtime.conftest import BASE, IMAGE, Root, answers, finished, run, texts


@pytest.fixture
def small(root: Root) -> Iterator[Root]:
    """A root whose `lib` is on a disk of 8 MiB."""
    place = root.lib.parent / "disk"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "hecd-test", place], check=True)
    found = replace(root, lib=place / "lib", run=root.run)
    yield found
    host = found.open()
    for container in host.containers.list():
        host.containers.remove(container.name)
    host.close()
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_said_and_the_old_state_kept(small: Root, layout: Path, tmp_path: Path) -> None:
    host = small.open()
    host.images.load(layout)
    web = run(host, "web")
    build_image(tmp_path / "big", "t/big:1", [{"big": bytes(range(256)) * (12 << 12)}], compress=False)
    with pytest.raises(RuntimeFault) as caught:
        host.images.load(tmp_path / "big")
    assert "gc --all" in caught.value.hint, caught.value
    assert [i.ref for i in host.images.list()] == [f"docker.io/{IMAGE}"]
    (small.lib / "filler").write_bytes(b"")
    with pytest.raises(OSError, match="No space"), (small.lib / "filler").open("ab", buffering=0) as filler:
        while True:
            filler.write(bytes(1 << 16)) or filler.write(b"0")
    with pytest.raises(RuntimeFault):
        for i in range(100):
            run(host, f"more.{i}")
    assert "hello" in answers(web.address)
    (small.lib / "filler").unlink()
    assert "hello" in answers(run(host, "after").address)


def test_a_damaged_record_is_swept_away(runtime_host: Host, root: Root) -> None:
    run(runtime_host, "web")
    run(runtime_host, "other")
    (root.lib / "containers/web/container.json").write_bytes(b"")
    assert [c.name for c in runtime_host.containers.list()] == ["other"]
    host = root.open()
    with pytest.raises(ContainerNotFound):
        host.containers.inspect("web")
    assert not (root.lib / "containers/web").exists()
    assert "hello" in answers(run(host, "web").address)


def test_a_damaged_image_can_be_brought_again(runtime_host: Host, root: Root, layout: Path) -> None:
    digest = runtime_host.images.resolve(IMAGE).digest
    (root.lib / "images/blobs/sha256" / digest[7:]).write_bytes(b"")
    assert runtime_host.images.load(layout)[0].digest == digest
    finished(runtime_host, "c", "/bin/echo", "well")
    assert texts(runtime_host, "c") == ["well"]


def test_a_layer_that_went_bad_is_fetched_anew(runtime_host: Host, root: Root, tmp_path: Path) -> None:
    build_image(tmp_path / "l", "t/x:1", [BASE, {"f": b"x"}])
    for blob in (tmp_path / "l/blobs/sha256").iterdir():
        kept = root.lib / "images/blobs/sha256" / blob.name
        if not kept.exists():
            kept.write_bytes(b"damaged on disk")
    with pytest.raises(RuntimeFault):
        runtime_host.images.load(tmp_path / "l")
    for _ in range(3):  # each attempt finds one more of the damaged blobs
        try:
            runtime_host.images.load(tmp_path / "l")
            break
        except RuntimeFault:
            continue
    finished(runtime_host, "c", "/bin/cat", "/f", image="t/x:1")
    assert texts(runtime_host, "c") == ["x"]
