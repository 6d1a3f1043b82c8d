"""Named volumes: filled from the image, kept, and never taken from a container."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest

from runtime.errors import InvalidSpec, KernelRefused, VolumeInUse, VolumeNotFound
from runtime.host import Host
from runtime.images.build import LayerFiles, build_image, directory, link
from runtime.model import ContainerSpec, ImageConfig, Mount
from tests.integration.runtime.conftest import BASE, IMAGE, finished, run, texts

SEED = "hecd/seed:1"
LIST = "busybox find /data | busybox sort; cat /data/deep/file; busybox stat -c %a:%u /data /data/deep/file"


def on(target: str = "/data", name: str = "data", *, read_only: bool = False) -> tuple[Mount, ...]:
    return (Mount("volume", target, name, read_only=read_only),)


@pytest.fixture
def seeded(runtime_host: Host, tmp_path: Path) -> Host:
    """A host with an image that has files at /data, and a link at /away that leads out of the image."""
    files: LayerFiles = {
        "data": directory(0o750),
        "data/deep/file": b"of the image\n",
        "data/link": link("deep/file"),
        "away": link("/etc"),
    }
    build_image(tmp_path / "seed", SEED, [BASE, files], ImageConfig())
    runtime_host.images.load(tmp_path / "seed")
    return runtime_host


def test_an_empty_volume_gets_what_the_image_has_there(seeded: Host) -> None:
    finished(seeded, "a", "/bin/sh", "-c", f"{LIST}; echo mine >/data/deep/file", image=SEED, mounts=on())
    assert texts(seeded, "a") == [
        "/data", "/data/deep", "/data/deep/file", "/data/link", "of the image", "750:0", "755:0",
    ]  # fmt: skip
    finished(seeded, "b", "/bin/cat", "/data/link", image=SEED, mounts=on())
    assert texts(seeded, "b") == ["mine"], "what a container wrote is not overwritten"
    seeded.containers.remove("a")
    seeded.containers.remove("b")
    assert Path(seeded.volumes.inspect("data").path, "deep/file").read_text() == "mine\n", "it outlives them"


def test_a_link_in_the_image_does_not_lead_to_the_hosts_files(seeded: Host) -> None:
    seeded.containers.create(ContainerSpec("c", SEED, command=("/bin/true",), mounts=on("/away")))
    found = {path.name for path in Path(seeded.volumes.inspect("data").path).iterdir()}
    assert found == {"passwd", "group"}, "the image's /etc"


def test_two_containers_share_one(runtime_host: Host) -> None:
    run(runtime_host, "writer", "/bin/sh", "-c", "echo shared >/data/x; sleep 60", mounts=on())
    runtime_host.volumes.create("data", {"not": "again"})
    finished(runtime_host, "reader", "/bin/sh", "-c", "until cat /v/x; do sleep 0.01; done", mounts=on("/v"))
    assert texts(runtime_host, "reader")[-1] == "shared"
    script = "echo no >/data/y"
    assert finished(runtime_host, "c", "/bin/sh", "-c", script, mounts=on(read_only=True)).exit_code != 0


def test_what_is_used_is_not_removed(runtime_host: Host) -> None:
    runtime_host.containers.create(ContainerSpec("never-ran", IMAGE, mounts=on()))
    with pytest.raises(VolumeInUse, match="never-ran"):
        runtime_host.volumes.remove("data")
    assert runtime_host.volumes.inspect("data").containers == ("never-ran",)
    runtime_host.containers.remove("never-ran")
    runtime_host.volumes.remove("data")
    assert runtime_host.volumes.all() == [] and runtime_host.volumes.drafts() == []
    with pytest.raises(VolumeNotFound):
        runtime_host.volumes.remove("data")
    with pytest.raises(InvalidSpec, match="no name of a volume"):
        runtime_host.volumes.create("../up")


def test_removing_and_mounting_at_once_never_takes_files_from_a_container(runtime_host: Host) -> None:
    for i in range(10):
        name = f"c.{i}"
        racer = threading.Thread(target=lambda: _remove(runtime_host))
        racer.start()
        run(runtime_host, name, "/bin/sh", "-c", "echo kept >/data/x; cat /data/x", mounts=on())
        racer.join()
        assert runtime_host.containers.wait(name, 30.0)
        assert Path(runtime_host.volumes.inspect("data").path, "x").read_text() == "kept\n"
        runtime_host.containers.remove(name)


def _remove(host: Host) -> None:
    with contextlib.suppress(VolumeInUse, VolumeNotFound):
        host.volumes.remove("data")


def test_a_failed_copy_leaves_it_empty(seeded: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cp").write_text(
        "#!/bin/sh\nfor to; do :; done; mkdir $to; echo half >$to/half; echo full >&2; exit 1\n"
    )
    (tmp_path / "cp").chmod(0o755)
    spec = ContainerSpec("c", SEED, command=("/bin/true",), mounts=on())
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(tmp_path), prepend=":")
        with pytest.raises(KernelRefused, match="cannot fill a volume") as caught:
            seeded.containers.create(spec)
    assert caught.value.details == ("full",)
    volume = seeded.volumes.inspect("data")
    assert volume.containers == () and list(Path(volume.path).iterdir()) == [] and seeded.volumes.drafts() == []
    seeded.containers.create(spec)
    assert Path(volume.path, "deep/file").exists()


def own_volumes(host: Host, name: str) -> list[Path]:
    return sorted(host.paths.own_volumes(name).iterdir())


def test_an_images_volume_is_the_containers_own(runtime_host: Host, tmp_path: Path) -> None:
    build_image(tmp_path / "db", "hecd/db:1", [BASE, {"data/seed": b"s\n"}], ImageConfig(volumes=("/data/", "/new")))
    runtime_host.images.load(tmp_path / "db")
    script = "cat /data/seed /data/mine; echo kept >/data/mine; busybox stat -c %a:%u /new"
    spec = ContainerSpec("c", "hecd/db:1", command=("/bin/sh", "-c", script), read_only=True)
    runtime_host.containers.create(spec)
    for _ in range(2):
        runtime_host.containers.start("c")
        runtime_host.containers.wait("c", 30.0)
    lines = [line for line in texts(runtime_host, "c") if "can't open" not in line]
    assert lines == ["s", "755:0", "s", "kept", "755:0"]
    assert len(own_volumes(runtime_host, "c")) == 2
    assert runtime_host.volumes.all() == []
    directory = runtime_host.paths.own_volumes("c")
    runtime_host.containers.remove("c")
    assert not directory.exists(), "it goes with the container"


def test_what_is_mounted_where_an_image_wants_a_volume_comes_first(runtime_host: Host, tmp_path: Path) -> None:
    build_image(tmp_path / "db", "hecd/db:1", [BASE], ImageConfig(volumes=("/data", "/memory")))
    runtime_host.images.load(tmp_path / "db")
    mounts = (*on("/data/"), Mount("tmpfs", "/memory"), Mount("volume", "/cache"))
    finished(runtime_host, "c", "/bin/sh", "-c", "echo x >/cache/x; echo y >/data/y", image="hecd/db:1", mounts=mounts)
    (own,) = own_volumes(runtime_host, "c")
    assert (own / "x").read_text() == "x\n"
    assert Path(runtime_host.volumes.inspect("data").path, "y").read_text() == "y\n"
