"""Root file systems: an image's layers below, a directory of the container's own on top, by overlayfs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from runtime.errors import KernelRefused
from runtime.linux import CLONE_FS, in_thread, mount, open_inside, unmount, unshare

PAGE_BYTES = 4096


def mount_rootfs(layers_root: Path, layers: tuple[str, ...], container: Path) -> None:
    """Mount the stack at `container/rootfs`, the topmost layer first. Fine if it is mounted. Raises KernelRefused."""
    target = container / "rootfs"
    for part in ("upper", "work", "rootfs"):
        (container / part).mkdir(exist_ok=True)
    if os.path.ismount(target):
        return
    # `volatile` saves a sync of the whole disk at each unmount. What it leaves behind would forbid the next mount.
    shutil.rmtree(container / "work" / "work" / "incompat", ignore_errors=True)
    in_thread(lambda: _mount(layers_root, layers, container, target))


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


def _mount(layers_root: Path, layers: tuple[str, ...], container: Path, target: Path) -> None:
    # Options must fit into a page: names relative to the layers' directory are short, and have no ':' or ','.
    # CLONE_FS gives this thread a working directory of its own.
    unshare(CLONE_FS)
    os.chdir(layers_root)
    own = os.path.relpath(container, layers_root)
    options = f"lowerdir={':'.join(layers)},upperdir={own}/upper,workdir={own}/work,volatile"
    if len(options) >= PAGE_BYTES:
        raise KernelRefused(f"an image of {len(layers)} layers is too deep", hint="Build it with fewer layers.")
    mount("overlay", str(target), "overlay", 0, options)
