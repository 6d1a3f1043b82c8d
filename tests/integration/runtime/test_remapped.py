"""Containers whose ids are remapped: their root is nobody outside, and on disk nothing tells."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from runtime import policy, subids
from runtime.copying import HERE, copy
from runtime.doctor import needs as doctor_needs
from runtime.doctor.leftovers import leftovers
from runtime.errors import InvalidSettings, InvalidSpec, KernelRefused
from runtime.host import Host
from runtime.images.build import LayerFiles, build_image, directory
from runtime.model import Container, ContainerSpec, ImageConfig, MemoryFile, Mount, PublishedPort
from tests.fakes.ports import free_port
from tests.integration.runtime.conftest import BASE, IMAGE, Root, answers, finished, run, texts

START = 300_000
OWNER = "busybox stat -c %u:%g"


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The host's settings, which remap."""
    monkeypatch.setattr(policy, "FILE", tmp_path / "runtime.toml")
    policy.FILE.write_text(f'userns_remap = "{START}:65536"\n')
    return policy.FILE


def said(host: Host, script: str, **wishes: Any) -> list[str]:
    finished(host, "said", "/bin/sh", "-c", f"({script}) 2>&1", **wishes)
    found = texts(host, "said")
    host.containers.remove("said")
    return found


def owner(path: Path) -> tuple[int, int]:
    at = os.lstat(path)
    return at.st_uid, at.st_gid


def test_root_is_nobody_outside_and_everything_works(runtime_host: Host, root: Root) -> None:
    port = free_port()
    script = "echo w >/new; busybox chown 1000 /new; busybox rm /etc/group; busybox httpd -f -p 80 -h /srv"
    web = run(runtime_host, "web", "/bin/sh", "-c", script, ports=(PublishedPort(port, 80),), cap_add=("NET_ADMIN",))
    assert "hello" in answers("127.0.0.1", port) and "hello" in answers(web.address)
    assert owner(Path(f"/proc/{web.pid}")) == (START, START), "on the host"
    owners = f"id -u; {OWNER} / /new /bin/busybox /etc/hosts; ls /etc"
    inside = f"{owners}; echo x >>/etc/hosts; busybox ip link set eth0 mtu 1400"
    code, text = runtime_host.inside.exec_probe("web", ["/bin/sh", "-c", inside], 10.0)
    assert (code, text.split()) == (
        0,
        ["0", "0:0", "1000:0", "0:0", "0:0", "hostname", "hosts", "passwd", "resolv.conf"],
    )
    used = runtime_host.containers.usage("web")
    assert used is not None and used.received_bytes > 0 and used.pids > 0
    files = runtime_host.paths.container("web")
    assert (owner(files / "rootfs/new"), owner(files / "upper/new")) == ((START + 1000, START), (1000, 0))
    assert sorted(path.name for path in (files / "upper").iterdir() if path.is_file()) == ["new"], "no layer was copied"
    other = root.open()
    assert other.containers.inspect("web") == web and web.idmap is not None, "whoever comes next finds all"
    assert leftovers(other.paths, root.bridge) == []
    other.containers.stop("web", 30.0)
    policy.FILE.write_text("")
    again = other.containers.start("web")
    assert owner(Path(f"/proc/{again.pid}"))[0] == START, "it stays what it is, whatever the settings say later"
    assert other.inside.exec_probe("web", ["/bin/sh", "-c", f"{OWNER} /new; ls /etc"], 10.0)[1].split()[0] == "1000:0"
    other.close()


def test_files_of_volumes_are_owned_as_inside_and_those_of_the_host_as_outside(
    runtime_host: Host, tmp_path: Path
) -> None:
    layers: list[LayerFiles] = [BASE, {"data": directory(0o750), "data/seed": b"of the image\n"}]
    build_image(tmp_path / "seed", "hecd/seed:1", layers, ImageConfig(volumes=("/own",)))
    runtime_host.images.load(tmp_path / "seed")
    bind = tmp_path / "bind"
    bind.mkdir(mode=0o755)
    (bind / "its").mkdir()
    os.chown(bind / "its", START + 1000, START)
    volume = Mount("volume", "/data", "data")
    wishes = {
        "image": "hecd/seed:1",
        "mounts": (volume, Mount("bind", "/bind", str(bind)), Mount("tmpfs", "/fast")),
        "files": (MemoryFile("/run/secrets/key", content="s3cret", mode=0o400, uid=1000, gid=1000),),
    }
    script = (
        f"cat /data/seed; {OWNER} /data /data/seed /own /fast /bind /bind/its /run/secrets/key; "
        "echo x >/data/new; busybox chown 1000:1000 /data/new; echo x >/own/new; "
        "echo no >/bind/no; echo yes >/bind/its/yes"
    )
    found = said(runtime_host, script, **wishes)
    nobody = "65534:65534"
    assert found[:-1] == ["of the image", "0:0", "0:0", "0:0", "0:0", nobody, "1000:0", "1000:1000"]
    assert "Permission denied" in found[-1] and owner(bind / "its/yes") == (START, START)
    data = Path(runtime_host.volumes.inspect("data").path)
    assert (owner(data / "seed"), owner(data / "new")) == ((0, 0), (1000, 1000))
    assert said(runtime_host, "cat /run/secrets/key", **wishes, user="app")[0] == "s3cret"
    policy.FILE.write_text("")
    assert said(runtime_host, f"{OWNER} /data/new /data/seed", mounts=(volume,)) == ["1000:1000", "0:0"], "the same"


def test_files_are_copied_in_and_out(runtime_host: Host, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("hello\n")
    run(runtime_host, "c", "/bin/sleep", "60", mounts=(Mount("volume", "/own"),))
    for place in ("/own/note", "/tmp/note"):
        copy(HERE, str(tmp_path / "note"), runtime_host.root_of("c"), place)
        probe = runtime_host.inside.exec_probe("c", ["/bin/sh", "-c", f"cat {place}; {OWNER} {place}"], 10.0)
        assert probe == (0, "hello\n0:0")
    runtime_host.inside.exec_probe("c", ["/bin/busybox", "chown", "1000:2000", "/tmp/note"], 10.0)
    runtime_host.containers.stop("c", 0.2)
    copy(HERE, str(tmp_path / "note"), runtime_host.root_of("c"), "/tmp/later")
    for keep, whose in ((False, (0, 0)), (True, (1000, 2000))):
        copy(runtime_host.root_of("c"), "/tmp/note", HERE, str(tmp_path / f"back{keep}"), keep=keep)
        assert owner(tmp_path / f"back{keep}") == whose, "by the container's numbers"
    assert owner(runtime_host.paths.container("c") / "upper/tmp/later") == (0, 0)


def test_out_of_it_only_where_the_host_allows_it(runtime_host: Host, settings: Path) -> None:
    def made(**wishes: Any) -> Container:
        found = runtime_host.containers.create(ContainerSpec("c", IMAGE, **wishes))
        runtime_host.containers.remove("c")
        return found

    with pytest.raises(InvalidSpec, match=f"--userns host is not allowed here; `userns_host = true` in {settings}"):
        made(userns="host")
    with pytest.raises(InvalidSpec, match="user 70000 is beyond the 65536 that are remapped"):
        made(user="70000")
    settings.write_text(f"{settings.read_text()}userns_host = true\n")
    assert made(userns="host").idmap is None and made().idmap is not None
    settings.write_text(f"{settings.read_text()}privileged = true\n")
    with pytest.raises(InvalidSpec, match="--userns host gives it those of the host"):
        made(privileged=True)
    assert made(privileged=True, userns="host").idmap is None


def test_what_is_missing_for_it_is_told(
    runtime_host: Host, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("SUBUID", "SUBGID"):
        monkeypatch.setattr(subids, file, tmp_path / file)

    def told() -> list[tuple[str, bool, str]]:
        return [(n.what, n.fine, n.hint) for n in doctor_needs.needs(runtime_host.paths) if "remap" in n.what]

    assert (f"ids of containers are {START}:65536 (userns_remap = '{START}:65536')", True, "") in told()
    settings.write_text('userns_remap = "default"\n')
    remedy = f"Set some aside: echo hecd:100000:65536 | tee -a {tmp_path}/SUBUID {tmp_path}/SUBGID"
    with pytest.raises(InvalidSettings, match="'hecd' has no ids in") as refused:
        runtime_host.containers.create(ContainerSpec("c", IMAGE))
    assert refused.value.hint == remedy and runtime_host.containers.list() == []
    assert [(fine, hint) for _, fine, hint in told()] == [(False, remedy)]
    monkeypatch.setattr("runtime.linux._MOUNT_ATTR_IDMAP", 1 << 40)  # a kernel that has none of it
    settings.write_text(f'userns_remap = "{START}:65536"\n')
    ((what, _, hint),) = [need for need in told() if not need[1]]
    assert "cannot remap the ids of files below" in what and "ext4, xfs or btrfs" in hint
    with pytest.raises(KernelRefused, match=r"cannot remap the ids of files below .*layers: Invalid argument"):
        runtime_host.containers.create(ContainerSpec("c", IMAGE))
    assert not list(runtime_host.paths.lib.glob(".doctor*"))
