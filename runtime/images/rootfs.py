"""Root file systems: an image's layers below, a directory of the container's own on top, by overlayfs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import KernelRefused
from runtime.linux import (
    CLONE_FS,
    CLONE_NEWNS,
    MS_PRIVATE,
    MS_REC,
    NO_REMAP,
    attach,
    detached,
    in_thread,
    in_user_namespace,
    make_files_as,
    mount,
    open_inside,
    remap,
    unmount,
    unshare,
)

PAGE_BYTES = 4096


@dataclass(frozen=True)
class Owners:
    """Files belong to whom their owners are in the user namespace; the container's root is `uid`, `gid` there."""

    userns: Path
    uid: int
    gid: int


def mount_rootfs(layers_root: Path, layers: tuple[str, ...], container: Path, owners: Owners | None = None) -> None:
    """Mount the stack at `container/rootfs`, the topmost layer first. Fine if it is mounted. On disk all is the same
    with `owners` and without. Raises KernelRefused."""
    target = container / "rootfs"
    for part in ("upper", "work", "rootfs"):
        (container / part).mkdir(exist_ok=True)
    if os.path.ismount(target):
        return
    # `volatile` saves a sync of the whole disk at each unmount. What it leaves behind would forbid the next mount.
    shutil.rmtree(container / "work" / "work" / "incompat", ignore_errors=True)
    if owners is None:
        in_thread(lambda: _mount(layers_root, layers, container, target))
        return
    tree = in_thread(lambda: _remapped(layers_root, layers, container, owners))
    try:
        attach(tree, target)
    finally:
        os.close(tree)


@contextmanager
def as_on_disk(layers_root: Path, layers: tuple[str, ...], container: Path) -> Iterator[Path]:
    """What the image alone has, with the owners that its files have on disk; nobody else sees the mount."""
    tree = in_thread(lambda: _lower(layers_root, layers, container / "rootfs"))
    try:
        yield Path(f"/proc/self/fd/{tree}")
    finally:
        os.close(tree)


def unmount_rootfs(container: Path) -> None:
    """Fine if nothing is mounted."""
    unmount(str(container / "rootfs"))


def read_inside(rootfs: Path, path: str) -> str:
    """A text file of the container's, "" if it has none. No link in it leads out of the container."""
    try:
        fd = open_inside(rootfs, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    with os.fdopen(fd, errors="replace") as file:
        try:
            return file.read(1 << 20)
        except OSError:
            return ""


def _remapped(layers_root: Path, layers: tuple[str, ...], container: Path, owners: Owners) -> int:
    """The same stack of remapped layers, detached. They are mounted so in a namespace of this thread only: overlayfs
    keeps them, and nobody else sees them."""
    _aside()
    for place in (layers_root, container):
        tree = detached(place)
        try:
            remap(tree, owners.userns, place)
            attach(tree, place)
        finally:
            os.close(tree)
    # Overlayfs makes files as whoever mounted it, and root itself is nobody in there.
    make_files_as(owners.uid, owners.gid)
    target = container / "rootfs"
    try:
        _mount(layers_root, layers, container, target)
    except KernelRefused as err:
        raise KernelRefused(err.brief, details=err.details, hint=NO_REMAP) from err
    if os.statvfs(target).f_flag & os.ST_RDONLY:  # what overlayfs falls back to, without a word
        raise KernelRefused(f"overlayfs cannot write remapped files at {container}", hint=NO_REMAP)
    return detached(target)


def _lower(layers_root: Path, layers: tuple[str, ...], target: Path) -> int:
    if len(layers) == 1:  # overlayfs wants two
        return detached(layers_root / layers[0])
    _aside()
    os.chdir(layers_root)
    mount("overlay", str(target), "overlay", 0, f"lowerdir={':'.join(layers)}{_marks()}")
    return detached(target)


def _aside() -> None:
    """What this thread mounts from now on, nobody else sees."""
    unshare(CLONE_NEWNS)
    mount("none", "/", "", MS_REC | MS_PRIVATE)


def _mount(layers_root: Path, layers: tuple[str, ...], container: Path, target: Path) -> None:
    # Options must fit into a page: names relative to the layers' directory are short, and have no ':' or ','.
    # CLONE_FS gives this thread a working directory of its own.
    unshare(CLONE_FS)
    os.chdir(layers_root)
    own = os.path.relpath(container, layers_root)
    options = f"lowerdir={':'.join(layers)},upperdir={own}/upper,workdir={own}/work,volatile{_marks()}"
    if len(options) >= PAGE_BYTES:
        raise KernelRefused(f"an image of {len(layers)} layers is too deep", hint="Build it with fewer layers.")
    mount("overlay", str(target), "overlay", 0, options)


def _marks() -> str:
    """Where overlayfs reads and writes its own marks: only the machine's root may where it usually does. unpack.py has
    written those of layers so."""
    return ",userxattr" if in_user_namespace() else ""
