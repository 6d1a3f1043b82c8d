"""Images come in from disk and from a registry; hostile layers stay inside; unused ones go."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import ImageNotFound, InvalidImage, RegistryUnavailable
from runtime.host import Host
from runtime.images.build import Entry, LayerFiles, build_image, directory, link
from runtime.images.layers import MOUNTPOINTS, directory_name
from runtime.model import ContainerSpec, ImageConfig
from tests.integration.runtime.conftest import BASE, IMAGE, Root, finished, run, texts
from tests.integration.runtime.oci_registry import FakeRegistry

Member = tuple[str, bytes, dict[str, object]]  # of a tar: its name, its content, what else its header says
SHOW = ("/bin/sh", "-c", "cd /d && ls -a && cat */* 2>/dev/null")


def test_later_layers_change_hide_and_replace(runtime_host: Host, tmp_path: Path) -> None:
    layers: list[LayerFiles] = [
        {**BASE, "d/kept/f": b"kept\n", "d/changed/f": b"old\n", "d/gone/f": b"gone\n", "d/opaque/old": b"old\n",
         "d/to_file/f": b"x\n", "d/to_dir": b"a file\n", "d/hidden": b"h\n"},
        {"d/changed/f": b"new\n", "d/.wh.gone": b"", "d/opaque/.wh..wh..opq": b"", "d/opaque/new": b"fresh\n",
         "d/to_file": b"now a file\n", "d/to_dir/f": b"now inside\n", "d/.wh.hidden": b""},
        {"d/hidden": link("kept")},
    ]  # fmt: skip
    build_image(tmp_path / "l", "t/layers:1", layers, ImageConfig(command=SHOW))
    runtime_host.images.load(tmp_path / "l")
    finished(runtime_host, "c", *SHOW, image="t/layers:1")
    lines = texts(runtime_host, "c")
    assert lines[:8] == [".", "..", "changed", "hidden", "kept", "opaque", "to_dir", "to_file"]
    assert lines[8:] == ["new", "kept", "kept", "fresh", "now inside"]


def test_a_whiteout_does_not_hide_what_its_own_layer_brings(runtime_host: Host, tmp_path: Path) -> None:
    tar = raw_tar([("d/f", b"own\n", {}), ("d/.wh.f", b"", {}), ("d/.wh.g", b"", {}), ("d/g", b"late\n", {})])
    load_raw(runtime_host, tmp_path, "t/own:1", [BASE, tar])
    finished(runtime_host, "c", "/bin/sh", "-c", "cat /d/f /d/g", image="t/own:1")
    assert texts(runtime_host, "c") == ["own", "late"]


def test_modes_owners_links_and_setuid_are_kept(runtime_host: Host, tmp_path: Path) -> None:
    files = {
        **BASE,
        "d": directory(0o750),
        "d/su": Entry(b"x", 0o4755),
        "d/of-app": Entry(b"x", 0o640, uid=1000, gid=2000),
        "d/absolute": link("/etc/passwd"),
    }
    build_image(tmp_path / "l", "t/modes:1", [files])
    runtime_host.images.load(tmp_path / "l")
    finished(runtime_host, "c", "/bin/busybox", "stat", "-c", "%n %a %u %g %N", "/d", "/d/su", "/d/of-app",
             "/d/absolute", image="t/modes:1")  # fmt: skip
    seen = [line.split()[:4] for line in texts(runtime_host, "c")]
    assert seen[0] == ["/d", "750", "0", "0"]
    assert seen[1] == ["/d/su", "4755", "0", "0"]
    assert seen[2] == ["/d/of-app", "640", "1000", "2000"]


@pytest.mark.parametrize("name", ["../../escaped", "/../escaped", "d/../../escaped", "out/escaped", "up/escaped"])
def test_no_name_leads_out_of_a_layer(runtime_host: Host, root: Root, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    links = [("out", str(outside)), ("up", "../../../../../../../.." + str(outside))]
    members: list[Member] = [(n, b"", {"type": tarfile.SYMTYPE, "linkname": to}) for n, to in links]
    tar = raw_tar([*members, (name, b"x", {})])
    before = tree(root.lib.parent)
    with contextlib.suppress(InvalidImage):  # refused or kept inside, both are well
        load_raw(runtime_host, tmp_path, "t/escape:1", [tar])
    assert list(outside.iterdir()) == []
    assert not [p for p in tree(root.lib.parent) - before if p.name == "escaped" and "layers" not in p.parts]


def test_a_hard_link_to_the_host_is_refused(runtime_host: Host, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    tar = raw_tar([("stolen", b"", {"type": tarfile.LNKTYPE, "linkname": str(secret)})])
    with pytest.raises(InvalidImage):
        load_raw(runtime_host, tmp_path, "t/hard:1", [tar])
    assert secret.stat().st_nlink == 1


@pytest.mark.parametrize(("kind", "name"), [(tarfile.BLKTYPE, "disk"), (tarfile.CHRTYPE, "etc/mem")])
def test_a_device_node_is_refused(runtime_host: Host, tmp_path: Path, kind: bytes, name: str) -> None:
    tar = raw_tar([(name, b"", {"type": kind, "devmajor": 1, "devminor": 1})])
    with pytest.raises(InvalidImage, match="cannot be unpacked") as caught:
        load_raw(runtime_host, tmp_path, "t/device:1", [tar])
    assert f"/{name} is a device node (1:1)" in caught.value.details[-1]


def test_devices_that_every_container_has_do_no_harm(runtime_host: Host, root: Root, tmp_path: Path) -> None:
    device = {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}
    tar = raw_tar([("jail/null", b"", device), ("dev/sda", b"", {**device, "type": tarfile.BLKTYPE, "devmajor": 8})])
    load_raw(runtime_host, tmp_path, "t/null:1", [BASE, tar])
    layer = root.lib / "layers" / directory_name(digest(tar))
    assert (layer / "jail/null").is_char_device() and not (layer / "dev/sda").exists()
    finished(runtime_host, "c", "/bin/sh", "-c", "echo gone >/dev/null && ls /dev", image="t/null:1")
    assert "null" in texts(runtime_host, "c") and "sda" not in texts(runtime_host, "c")


def test_a_layer_that_swells_is_refused(root: Root, tmp_path: Path) -> None:
    (tmp_path / "images.toml").write_text("largest_layer_mib = 8\n")
    host = Host.open(root.lib, root.run, root.subnet, root.bridge, tmp_path / "images.toml")
    bomb = raw_tar([("zeros", bytes(9 << 20), {})])
    with pytest.raises(InvalidImage, match="cannot be unpacked") as caught:
        load_raw(host, tmp_path, "t/bomb:1", [bomb], stored=[gzip.compress(bomb)])
    assert "larger than 8 MiB" in caught.value.details[-1] and "largest_layer_mib" in caught.value.hint
    assert os.listdir(root.lib / "layers") == [MOUNTPOINTS]
    (tmp_path / "images.toml").write_text("largest_layer_mib = 10\n")
    load_raw(host, tmp_path, "t/bomb:1", [bomb], stored=[gzip.compress(bomb)])
    host.close()


def test_hard_links_inside_a_layer_are_kept(runtime_host: Host, root: Root, tmp_path: Path) -> None:
    tar = raw_tar([("d/one", b"1", {}), ("d/two", b"", {"type": tarfile.LNKTYPE, "linkname": "d/one"})])
    load_raw(runtime_host, tmp_path, "t/links:1", [tar])
    layer = root.lib / "layers" / directory_name(digest(tar))
    assert (layer / "d/two").samefile(layer / "d/one")


def test_attributes_that_steer_overlayfs_are_dropped(runtime_host: Host, root: Root, tmp_path: Path) -> None:
    steering = {f"SCHILY.xattr.{kind}.overlay.redirect": "/etc" for kind in ("trusted", "user")}
    attributes = {**steering, "SCHILY.xattr.user.note": "kept"}
    tar = raw_tar([("d", b"", {"type": tarfile.DIRTYPE, "pax_headers": attributes})])
    load_raw(runtime_host, tmp_path, "t/xattr:1", [tar])
    layer = root.lib / "layers" / directory_name(digest(tar)) / "d"
    assert os.listxattr(layer) == ["user.note"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda tar: tar[: len(tar) // 2],  # cut
        lambda tar: tar + b"more",  # not what the configuration promises
        lambda tar: b"no tar at all" * 100,
    ],
)
def test_a_damaged_layer_is_refused(
    runtime_host: Host, root: Root, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    good = raw_tar([("f", b"x" * 5000, {})])
    before = tree(root.lib / "layers")
    with pytest.raises(InvalidImage, match="cannot be unpacked"):
        load_raw(runtime_host, tmp_path, "t/damaged:1", [good], stored=[damage(good)])
    assert tree(root.lib / "layers") == before
    assert [i.ref for i in runtime_host.images.list()] == [f"docker.io/{IMAGE}"]


def test_a_blob_that_is_not_its_digest_is_refused(runtime_host: Host, tmp_path: Path) -> None:
    build_image(tmp_path / "l", "t/blob:1", [{"f": b"x"}])
    for blob in (tmp_path / "l/blobs/sha256").iterdir():
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            blob.write_bytes(gzip.compress(b"other"))
    with pytest.raises(InvalidImage, match="damaged"):
        runtime_host.images.load(tmp_path / "l")
    assert [i.ref for i in runtime_host.images.list()] == [f"docker.io/{IMAGE}"]


def test_a_zstd_layer(runtime_host: Host, tmp_path: Path) -> None:
    plain = raw_tar([("f", b"packed\n", {})])
    packed = subprocess.run(["zstd", "-c"], input=plain, capture_output=True, check=True).stdout
    load_raw(runtime_host, tmp_path, "t/zstd:1", [BASE, plain], stored=[None, packed])
    finished(runtime_host, "c", "/bin/cat", "/f", image="t/zstd:1")
    assert texts(runtime_host, "c") == ["packed"]


def test_many_layers_fit_into_one_mount(runtime_host: Host, tmp_path: Path) -> None:
    layers = [BASE, *({f"f{i}": f"{i}\n".encode(), "last": f"{i}\n".encode()} for i in range(110))]
    build_image(tmp_path / "l", "t/deep:1", layers, compress=False)
    runtime_host.images.load(tmp_path / "l")
    finished(runtime_host, "c", "/bin/sh", "-c", "cat /last /f0 /f109", image="t/deep:1")
    assert texts(runtime_host, "c") == ["109", "0", "109"]


def test_shared_layers_are_unpacked_once(runtime_host: Host, root: Root, tmp_path: Path) -> None:
    before = len(tree(root.lib / "layers", depth=1))
    build_image(tmp_path / "l", "t/next:1", [BASE, {"srv/index.html": b"next\n"}])
    runtime_host.images.load(tmp_path / "l")
    assert len(tree(root.lib / "layers", depth=1)) == before + 1


def test_an_image_by_digest_survives_its_tag(runtime_host: Host, tmp_path: Path) -> None:
    first = runtime_host.images.resolve(IMAGE)
    build_image(tmp_path / "l", IMAGE, [BASE, {"srv/index.html": b"two\n"}], ImageConfig(command=("/bin/true",)))
    second = runtime_host.images.load(tmp_path / "l")[0]
    assert runtime_host.images.resolve(IMAGE).digest == second.digest != first.digest
    assert runtime_host.images.pull(f"hecd/test@{first.digest}").digest == first.digest
    finished(runtime_host, "old", "/bin/cat", "/srv/index.html", image=first.digest)
    assert texts(runtime_host, "old") == ["hello"]


def test_gc_keeps_what_is_used_named_or_asked_for(runtime_host: Host, root: Root, tmp_path: Path) -> None:
    used = runtime_host.images.resolve(IMAGE)
    runtime_host.containers.create(ContainerSpec("c", IMAGE))
    versions = []
    for i in range(3):
        build_image(tmp_path / "l", "t/app:1", [BASE, {"v": b"%d" % i}])
        versions += runtime_host.images.load(tmp_path / "l")
    runtime_host.catalog.untag(IMAGE)
    swept = runtime_host.catalog.gc(keep=[versions[0].digest])
    assert swept.images == (versions[1].digest,)
    assert (swept.layers, swept.blobs) == (1, 3)
    swept = runtime_host.catalog.gc(unused=True)
    assert set(swept.images) == {versions[0].digest, versions[2].digest}
    assert [i.digest for i in runtime_host.images.list()] == [used.digest]
    runtime_host.containers.remove("c")
    assert runtime_host.catalog.gc(unused=True).images == (used.digest,)
    assert os.listdir(root.lib / "layers") == [MOUNTPOINTS]
    assert tree(root.lib / "images/blobs/sha256") == set()


def test_gc_sweeps_what_a_crash_left(runtime_host: Host, root: Root) -> None:
    (root.lib / "layers/.half").mkdir()
    (root.lib / "images/blobs/sha256/.half").touch()
    runtime_host.catalog.gc()
    assert not [p for p in tree(root.lib) if p.name == ".half"]
    finished(runtime_host, "c", "/bin/true")


@pytest.fixture
def registry(layout: Path) -> FakeRegistry:
    """A registry on loopback that serves the test image as team/app:1."""
    return FakeRegistry(layout, {"team/app:1": IMAGE})


def test_pull_from_a_registry(runtime_host: Host, registry: FakeRegistry) -> None:
    with registry:
        ref = f"{registry.address}/team/app:1"
        resolved = runtime_host.images.resolve(ref)
        runtime_host.catalog.gc(unused=True)
        pulled = runtime_host.images.pull(ref)
        assert (resolved.digest, resolved.config) == (pulled.digest, pulled.config)
        asked = len(registry.requests)
        assert runtime_host.images.pull(ref).digest == pulled.digest
        assert runtime_host.images.pull(f"{registry.address}/team/app@{pulled.digest}").digest == pulled.digest
        assert len(registry.requests) == asked, "what is here is not asked for"
        run(runtime_host, "web", image=ref)


def test_pull_of_an_index_takes_this_platforms_image(runtime_host: Host, registry: FakeRegistry) -> None:
    with registry:
        ref = f"{registry.address}/team/app:many"
        wanted = registry.add_index("team/app:many", "team/app:1")
        runtime_host.catalog.gc(unused=True)
        assert runtime_host.images.resolve(ref).digest == wanted
        assert runtime_host.images.pull(ref).digest == wanted


def test_eight_pulls_at_once(runtime_host: Host, registry: FakeRegistry) -> None:
    with registry:
        runtime_host.catalog.gc(unused=True)
        names = [f"team/app:{i}" for i in range(8)]
        for name in names:
            registry.tags[name] = registry.tags["team/app:1"]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: runtime_host.images.pull(f"{registry.address}/{name}"), names))
        assert {i.ref for i in runtime_host.images.list()} == {f"{registry.address}/{name}" for name in names}


def test_a_registry_that_sends_something_else(runtime_host: Host, registry: FakeRegistry) -> None:
    with registry:
        runtime_host.catalog.gc(unused=True)
        registry.spoil_layers()
        with pytest.raises(InvalidImage, match="sent something else"):
            runtime_host.images.pull(f"{registry.address}/team/app:1")
        assert runtime_host.images.list() == []


def test_what_a_registry_lacks(runtime_host: Host, registry: FakeRegistry) -> None:
    with registry:
        for call in (runtime_host.images.resolve, runtime_host.images.pull):
            with pytest.raises(ImageNotFound):
                call(f"{registry.address}/team/app:none")
        ref = f"{registry.address}/team/app:1"
    with pytest.raises(RegistryUnavailable) as caught:
        runtime_host.images.pull(ref)
    assert caught.value.retry_after_s > 0
    assert "not on this host" in caught.value.brief


def raw_tar(members: Sequence[Member]) -> bytes:
    """A tar with exactly these members, however odd."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content, settings in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            for key, value in settings.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def load_raw(
    host: Host, tmp_path: Path, ref: str, layers: Sequence[LayerFiles | bytes], stored: Sequence[bytes | None] = ()
) -> None:
    """Load an image whose layers are given as tars (bytes); `stored` are the blobs that stand for them."""
    layout = tmp_path / "raw"
    placeholders = [{"x": b"%d" % i} if isinstance(layer, bytes) else layer for i, layer in enumerate(layers)]
    build_image(layout, ref, placeholders, compress=False)
    index = json.loads((layout / "index.json").read_text())
    manifest = read_blob(layout, index["manifests"][0]["digest"])
    config = read_blob(layout, manifest["config"]["digest"])
    for i, layer in enumerate(layers):
        if isinstance(layer, bytes):
            blob = (stored[i] if stored else None) or layer
            config["rootfs"]["diff_ids"][i] = digest(layer)
            manifest["layers"][i].update(digest=add_blob(layout, blob), size=len(blob))
    manifest["config"]["digest"] = add_blob(layout, json.dumps(config).encode())
    index["manifests"][0]["digest"] = add_blob(layout, json.dumps(manifest).encode())
    (layout / "index.json").write_text(json.dumps(index))
    host.images.load(layout)


def read_blob(layout: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((layout / "blobs/sha256" / name[7:]).read_bytes())
    return found


def add_blob(layout: Path, data: bytes) -> str:
    (layout / "blobs/sha256" / digest(data)[7:]).write_bytes(data)
    return digest(data)


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tree(path: Path, depth: int = 99) -> set[Path]:
    found = path.glob("*") if depth == 1 else path.rglob("*")
    return {p for p in found if not stat.S_ISSOCK(p.lstat().st_mode)}
