"""Images are looked at, saved, imported, built, removed and collected."""

from __future__ import annotations

import gzip
import os
import subprocess
import time
from pathlib import Path

import pytest

from runtime.errors import BuildFailed, ImageInUse, ImageNotFound, InvalidImage, MissingProgram
from runtime.host import Host
from runtime.images.build import build_image, tar_of
from runtime.images.layers import MOUNTPOINTS
from runtime.model import ContainerSpec, ImageConfig, State
from tests.integration.runtime.conftest import BASE, IMAGE, SERVE, Root, finished, run, texts

NAME = f"docker.io/{IMAGE}"


def test_inspect_tells_all(runtime_host: Host, layout: Path) -> None:
    run(runtime_host, "web")
    found = runtime_host.catalog.inspect(IMAGE)
    assert (found.names, found.containers, found.config.command) == ((NAME,), ("web",), SERVE)
    assert len(found.layers) == len(found.diff_ids) == 2
    blobs = layout / "blobs/sha256"
    assert found.size_bytes == sum((blobs / digest[7:]).stat().st_size for digest in found.layers)
    assert abs(found.used_at - time.time()) < 60
    with pytest.raises(ImageNotFound):
        runtime_host.catalog.inspect("none:1")


@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive"])
def test_what_is_saved_others_read(runtime_host: Host, tmp_path: Path, transport: str) -> None:
    image = runtime_host.images.resolve(IMAGE)
    runtime_host.catalog.save([IMAGE], tmp_path / "saved.tar")
    copied = tmp_path / "copied"
    source = f"{transport}:{tmp_path}/saved.tar"
    subprocess.run(["skopeo", "copy", "-q", source, f"oci:{copied}:{IMAGE}"], check=True)
    runtime_host.catalog.gc(unused=True)
    if transport == "oci-archive":
        assert runtime_host.images.load(copied)[0].digest == image.digest
    else:
        assert runtime_host.images.load(copied)[0].config == image.config
    finished(runtime_host, "c", "/bin/cat", "/srv/index.html")
    assert texts(runtime_host, "c") == ["hello"]


def test_a_container_has_no_files_of_its_own_but_what_it_writes(runtime_host: Host, tmp_path: Path) -> None:
    build_image(tmp_path / "l", "t/bare:1", [{"bin/busybox": Path("/bin/busybox")}])
    runtime_host.images.load(tmp_path / "l")
    runtime_host.catalog.gc(unused=True, older_than_s=3600.0)  # what all mounts lie on is no image's, and stays
    words = ("/bin/busybox", "sh", "-c", "cd /bin; echo 1 >/new; ./busybox cat /etc/hostname")
    finished(runtime_host, "c", *words, image="t/bare:1")
    assert texts(runtime_host, "c") == ["c"]
    upper = runtime_host.paths.container("c") / "upper"
    assert sorted(path.name for path in upper.rglob("*")) == ["new"]


def test_what_is_saved_comes_back(runtime_host: Host, tmp_path: Path) -> None:
    build_image(tmp_path / "l", "t/two:1", [BASE, {"two": b"2"}])
    both = {runtime_host.images.resolve(IMAGE).digest, runtime_host.images.load(tmp_path / "l")[0].digest}
    runtime_host.catalog.save([IMAGE, "t/two:1"], tmp_path / "saved.tar")
    runtime_host.catalog.gc(unused=True)
    assert {image.digest for image in runtime_host.images.load(tmp_path / "saved.tar")} == both
    assert [image.ref for image in runtime_host.images.list()] == [NAME, "docker.io/t/two:1"]
    assert [path.name for path in tmp_path.glob(".saved*")] == []


@pytest.mark.parametrize("packed", [False, True])
def test_a_root_file_system_is_imported(runtime_host: Host, tmp_path: Path, packed: bool) -> None:
    tar = tar_of(dict(BASE))
    (tmp_path / "rootfs").write_bytes(gzip.compress(tar) if packed else tar)
    config = ImageConfig(command=("/bin/sh", "-c", "echo $A; id -u"), env={"A": "b"}, user="app")
    image = runtime_host.catalog.import_rootfs(tmp_path / "rootfs", "t/rootfs:1", config)
    assert image.config == config
    finished(runtime_host, "c", *config.command, image="t/rootfs:1")
    assert texts(runtime_host, "c") == ["b", "1000"]


NO_ROOTS = {
    "empty": b"",
    "text": b"text" * 200,
    "text, packed": gzip.compress(b"text" * 200),
    "cut off": gzip.compress(bytes(9000))[:-9],
}


@pytest.mark.parametrize("content", NO_ROOTS.values(), ids=NO_ROOTS)
def test_what_is_no_root_file_system(runtime_host: Host, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rootfs").write_bytes(content)
    with pytest.raises(InvalidImage):
        runtime_host.catalog.import_rootfs(tmp_path / "rootfs", "t/rootfs:1", ImageConfig())
    assert [image.ref for image in runtime_host.images.list()] == [NAME]


def test_rm_says_who_is_in_the_way(runtime_host: Host, root: Root, layout: Path) -> None:
    digest = runtime_host.images.resolve(IMAGE).digest
    run(runtime_host, "web")
    for ref in (IMAGE, digest):
        with pytest.raises(ImageInUse, match="in use by web") as caught:
            runtime_host.catalog.remove(ref)
        assert "rm -f web" in caught.value.hint
    runtime_host.catalog.save([IMAGE], root.lib.parent / "saved.tar")
    runtime_host.containers.remove("web")
    assert runtime_host.catalog.remove(IMAGE).images == (digest,)
    assert runtime_host.images.list() == []
    assert os.listdir(root.lib / "layers") == [MOUNTPOINTS]
    with pytest.raises(ImageNotFound):
        runtime_host.catalog.remove(IMAGE)


def test_rm_of_one_of_two_names(runtime_host: Host, layout: Path, tmp_path: Path) -> None:
    build_image(tmp_path / "l", "t/other:1", [BASE, {"srv/index.html": b"hello\n"}], ImageConfig(command=SERVE))
    runtime_host.images.load(tmp_path / "l")
    run(runtime_host, "web")
    assert runtime_host.catalog.remove(IMAGE).images == ()
    assert runtime_host.catalog.inspect("t/other:1").containers == ("web",)
    runtime_host.containers.remove("web")
    assert len(runtime_host.catalog.remove(runtime_host.images.resolve("t/other:1").digest).images) == 1


def test_gc_by_age_leaves_what_was_used_lately_and_what_runs(runtime_host: Host, root: Root, tmp_path: Path) -> None:
    names = ("t/old:1", "t/used:1", "t/runs:1")
    for name in names:
        build_image(tmp_path / "l", name, [BASE, {"name": name.encode(), "srv/index.html": b"x"}])
    digests = {image.ref.removeprefix("docker.io/"): image.digest for image in runtime_host.images.load(tmp_path / "l")}
    run(runtime_host, "runs", *SERVE, image="t/runs:1")
    runtime_host.containers.create(ContainerSpec("used", "t/used:1", command=("/bin/true",)))
    long_ago = time.time() - 8 * 86400
    for digest in digests.values():
        os.utime(root.lib / "images/complete" / digest[7:], (long_ago, long_ago))
    runtime_host.containers.remove("used")
    assert runtime_host.catalog.gc(unused=True, older_than_s=7 * 86400).images == (digests["t/old:1"],)
    left = {image.digest for image in runtime_host.images.list()}
    assert {digests["t/used:1"], digests["t/runs:1"], runtime_host.images.resolve(IMAGE).digest} == left
    assert runtime_host.containers.inspect("runs").state is State.RUNNING
    assert digests["t/runs:1"] not in runtime_host.catalog.gc(unused=True).images


def test_the_second_container_of_an_image_touches_no_layer(runtime_host: Host, root: Root) -> None:
    run(runtime_host, "one")
    before = {path: path.lstat().st_ctime_ns for path in (root.lib / "layers").rglob("*")}
    run(runtime_host, "two")
    assert {path: path.lstat().st_ctime_ns for path in (root.lib / "layers").rglob("*")} == before
    shared = {line.split("lowerdir=")[1].split(",")[0] for line in _mounts(root)}
    assert len(shared) == 1


def test_a_dockerfile_is_built(runtime_host: Host, tmp_path: Path) -> None:
    (tmp_path / "busybox").write_bytes(Path("/bin/busybox").read_bytes())
    (tmp_path / "busybox").chmod(0o755)
    (tmp_path / "Dockerfile").write_text(
        'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "touch", "/made"]\nENV A=b\nUSER 7\n'
    )
    image = runtime_host.catalog.build(tmp_path, "t/built:1")
    assert (image.ref, image.config.env["A"], image.config.user) == ("docker.io/t/built:1", "b", "7")
    finished(runtime_host, "c", "/bin/busybox", "stat", "-c", "%n", "/made", image="t/built:1")
    assert texts(runtime_host, "c") == ["/made"]
    (tmp_path / "Wrong").write_text("FROM scratch\nNONSENSE\n")
    with pytest.raises(BuildFailed):
        runtime_host.catalog.build(tmp_path, "t/built:2", tmp_path / "Wrong")


def test_without_buildah_the_error_names_the_package(
    runtime_host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgram, match="buildah is not installed") as caught:
        runtime_host.catalog.build(tmp_path, "t/built:1")
    assert caught.value.hint == "Install it: apt-get install buildah"


def _mounts(root: Root) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    found = [line for line in lines if str(root.lib) in line and " overlay " in line]
    assert len(found) == 2
    return found
