"""Files into containers and out of them, and that no link leads out."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from runtime.copying import HERE, copy, ended, packing, unpacking
from runtime.errors import NotCopied, NotRunning
from runtime.host import Host
from runtime.images.rootfs import unmount_rootfs
from runtime.model import ContainerSpec, Mount
from tests.integration.runtime.conftest import IMAGE, becomes, finished, run, texts


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with a file, a link and a program in it."""
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep/file").write_text("content\n")
    (tree / "link").symlink_to("deep/file")
    (tree / "program").write_text("x")
    (tree / "program").chmod(0o4755)
    os.mkfifo(tree / "pipe")
    return tree


def below(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))


def test_there_and_back(runtime_host: Host, tree: Path, tmp_path: Path) -> None:
    run(runtime_host, "c", "/bin/sleep", "60", mounts=(Mount("volume", "/data"),))
    root = runtime_host.root_of("c")
    copy(HERE, str(tree), root, "/data")  # into what is mounted there, too
    copy(HERE, str(tree), root, "/data/new")
    copy(HERE, f"{tree}/.", root, "/data/new")
    copy(HERE, str(tree / "deep/file"), root, "/data/other")
    code, said = runtime_host.inside.exec_probe("c", ["/bin/sh", "-c", "cd /data; find . | sort; cat other"], 10.0)
    whole = ["", "/deep", "/deep/file", "/link", "/program"]
    expected = [".", *(f"./new{name}" for name in whole), "./other", *(f"./tree{name}" for name in whole), "content"]
    assert (code, said.split()) == (0, expected), "the pipe is left out"
    back = tmp_path / "back"
    copy(root, "/data/tree", HERE, str(back))
    assert below(back) == ["deep", "deep/file", "link", "program"]
    assert (back / "link").readlink() == Path("deep/file")
    assert stat.S_IMODE((back / "program").stat().st_mode) == 0o755, "setuid stays inside"
    assert (back / "deep/file").stat().st_mtime == (tree / "deep/file").stat().st_mtime


def test_owners_are_kept_where_that_is_asked_for(runtime_host: Host, tree: Path, tmp_path: Path) -> None:
    run(runtime_host, "c", "/bin/sleep", "60")
    os.chown(tree / "deep/file", 1234, 5678)
    for keep, owner in ((False, (0, 0)), (True, (1234, 5678))):
        copy(HERE, str(tree), runtime_host.root_of("c"), f"/{keep}", keep=keep)
        copy(runtime_host.root_of("c"), f"/{keep}/deep/file", HERE, str(tmp_path / str(keep)), keep=keep)
        found = (tmp_path / str(keep)).stat()
        assert (found.st_uid, found.st_gid) == owner


def test_no_link_of_a_container_leads_to_the_hosts_files(runtime_host: Host, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("of the host")
    script = f"mkdir -p {tmp_path}; ln -s {secret} /out; ln -s {secret}/key /key; mkdir /trap; ln -s {secret} /trap/sub"
    run(runtime_host, "c", "/bin/sh", "-c", f"{script}; echo made; sleep 60")
    becomes(lambda: texts(runtime_host, "c") == ["made"])
    root = runtime_host.root_of("c")
    with pytest.raises(NotCopied, match="No such file"):
        copy(root, "/out/key", HERE, str(tmp_path / "a"))
    copy(root, "/key", HERE, str(tmp_path / "a"))
    assert (tmp_path / "a").readlink() == secret / "key", "a link is copied, not what the host has where it leads"
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/key").write_text("mine")
    with pytest.raises(NotCopied, match="sub"):
        copy(HERE, f"{tmp_path}/sub", root, "/trap")
    with pytest.raises(NotCopied):
        copy(HERE, f"{tmp_path}/sub", root, "/out/x/")
    assert (secret / "key").read_text() == "of the host"


@pytest.mark.parametrize("name", ["../evil", "/x/../../evil", "x/../../evil"])
def test_no_name_in_a_tar_leads_out_of_where_it_is_put(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    with (tmp_path / "tar").open("wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = 4
        tar.addfile(info, io.BytesIO(b"evil"))
    with (tmp_path / "tar").open("rb") as packed, pytest.raises(NotCopied, match="leads out"):
        ended(unpacking(HERE, str(tmp_path / "in"), packed))
    assert below(tmp_path) == ["in", "tar"]


@pytest.mark.parametrize(
    ("source", "target", "fault"),
    [
        ("/nope", "/x", "/nope: No such file"),
        ("/etc/passwd", "/nope/", "/nope/: there is no such directory"),
        ("/etc/passwd", "/nope/x", "/nope: No such file"),
        ("/etc", "/etc/passwd", "/etc/passwd: it is a file, and a directory is to be copied"),
    ],
)
def test_faults(runtime_host: Host, source: str, target: str, fault: str) -> None:
    runtime_host.containers.create(ContainerSpec("c", IMAGE))
    root = runtime_host.root_of("c")
    with pytest.raises(NotCopied, match=fault):
        copy(root, source, root, target)


def test_one_that_does_not_run_is_copied_from(runtime_host: Host, tmp_path: Path) -> None:
    finished(runtime_host, "c", "/bin/sh", "-c", "echo left >/result")
    copy(runtime_host.root_of("c"), "/result", HERE, str(tmp_path))
    assert (tmp_path / "result").read_text() == "left\n"
    packed = packing(runtime_host.root_of("c"), "/", -1)
    assert packed.stdout is not None
    with tarfile.open(fileobj=packed.stdout, mode="r|") as tar:
        names = tar.getnames()
    ended(packed)
    assert {"./result", "./bin/busybox"} <= set(names) and not any(name.startswith("./proc/") for name in names)


def test_what_was_unmounted_has_no_files_to_give(runtime_host: Host) -> None:
    runtime_host.containers.create(ContainerSpec("c", IMAGE))
    unmount_rootfs(runtime_host.paths.container("c"))
    with pytest.raises(NotRunning):
        runtime_host.root_of("c")
