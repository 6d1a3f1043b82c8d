"""System calls that Python has no name for, and threads with namespaces of their own.

setns and unshare act on the calling thread only. A thread that used them is thrown away, never given back to a pool.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from runtime.errors import KernelRefused

CLONE_NEWNS = 0x00020000
CLONE_FS = 0x00000200
CLONE_NEWNET = 0x40000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND = 2, 4, 8, 4096
MNT_DETACH = 2
IN_MODIFY, IN_CREATE, IN_MOVED_TO = 0x2, 0x100, 0x80
_OPEN_TREE, _MOVE_MOUNT, _OPENAT2, _MOUNT_SETATTR = 428, 429, 437, 442
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH, _AT_EMPTY_PATH, _AT_FDCWD = 1, 4, 0x1000, -100
_MOUNT_ATTR_IDMAP = 0x100000
_CAPABILITY_VERSION_3 = 0x20080522
_RESOLVE_IN_ROOT = 0x10
_PR_SET_PDEATHSIG = 1
NO_REMAP = "It takes Linux 5.19 and a file system such as ext4, xfs or btrfs; or leave userns_remap out."

_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """mount(2). Raises KernelRefused with the arguments."""
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
    _check(result, f"mount {kind or source} at {target}", (options,) if options else ())


def unmount(target: str) -> bool:
    """Detach a mount; False if nothing is mounted there. Raises KernelRefused."""
    if _libc.umount2(target.encode(), MNT_DETACH) == 0:
        return True
    if ctypes.get_errno() in (22, 2):  # EINVAL: no mount point; ENOENT
        return False
    _check(-1, f"unmount {target}")
    return False


def detached(path: Path) -> int:
    """A copy of the mount at `path`, from there on down, that is mounted nowhere; the caller closes it, and it is gone
    unless it was attached. Raises KernelRefused."""
    fd: int = _libc.syscall(_OPEN_TREE, _AT_FDCWD, str(path).encode(), _OPEN_TREE_CLONE | os.O_CLOEXEC)
    _check(fd, f"copy the mount of {path}")
    return fd


def remap(tree: int, userns: Path, path: Path) -> None:
    """Let all that is in a detached mount, of `path`, belong to who its owners are in the user namespace.
    Raises KernelRefused, also where the file system cannot."""
    fd = os.open(userns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        attributes = struct.pack("QQQQ", _MOUNT_ATTR_IDMAP, 0, 0, fd)
        size = ctypes.c_size_t(len(attributes))
        if _libc.syscall(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, attributes, size) < 0:
            code = ctypes.get_errno()
            raise KernelRefused(
                f"cannot remap the ids of files below {path}: {os.strerror(code)}",
                hint=NO_REMAP,
            )
    finally:
        os.close(fd)


def attach(tree: int, target: Path) -> None:
    """Mount a detached mount at `target`. Raises KernelRefused."""
    result = _libc.syscall(
        _MOVE_MOUNT, tree, b"", _AT_FDCWD, str(target).encode(), ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH)
    )
    _check(result, f"mount at {target}")


def make_files_as(uid: int, gid: int) -> None:
    """What the calling thread makes from now on belongs to these; it may still all that it could. Raises
    KernelRefused."""
    header, data = struct.pack("Ii", _CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    _libc.setfsgid(gid)
    _libc.setfsuid(uid)  # which takes capabilities over files away
    _check(_libc.capget(header, data), "read capabilities")
    data[0], data[3] = data[1], data[4]  # effective: all that is permitted
    _check(_libc.capset(header, data), "take capabilities back")


def unshare(flags: int) -> None:
    """unshare(2) of the calling thread. Raises KernelRefused."""
    _check(_libc.unshare(flags), "unshare namespaces")


def setns(path: str) -> None:
    """Bring the calling thread into the network namespace at `path`. Raises KernelRefused."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(fd, CLONE_NEWNET), f"enter the network namespace {path}")
    finally:
        os.close(fd)


def join_namespaces(pid: int) -> None:
    """Bring this process, which must have one thread, into user, mount and network namespace of another one, and its
    children into its pid namespace. Raises KernelRefused."""
    try:
        fd = os.pidfd_open(pid)
    except OSError as err:
        raise KernelRefused(f"process {pid} has ended", hint="Try again.") from err
    try:
        flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID
        _check(_libc.setns(fd, flags), f"enter the namespaces of process {pid}")
    finally:
        os.close(fd)


def die_with_parent() -> None:
    """This process is killed when the thread that forked it ends. Raises KernelRefused."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "ask for a signal at the end of the parent")


def in_user_namespace() -> bool:
    """Whether this process is root, if at all, among some of the machine's ids only."""
    return Path("/proc/self/uid_map").read_text().split() != ["0", "0", str((1 << 32) - 1)]


def largest_group() -> int:
    """The largest group that there is in this process's user namespace."""
    ranges = [line.split() for line in Path("/proc/self/gid_map").read_text().splitlines()]
    return max(int(inside) + int(count) - 1 for inside, _, count in ranges)


def sync_filesystem(path: Path) -> None:
    """Write what is dirty on the file system of `path` to its disk. Raises KernelRefused."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.syncfs(fd), f"sync {path}")
    finally:
        os.close(fd)


def open_inside(root: Path, path: str, flags: int = os.O_RDONLY) -> int:
    """Open `path` as if `root` were "/": no link and no ".." leads out of it. Raises OSError."""
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT)
    top = os.open(root, os.O_PATH | os.O_CLOEXEC)
    try:
        fd: int = _libc.syscall(_OPENAT2, top, path.lstrip("/").encode() or b".", how, ctypes.c_size_t(len(how)))
    finally:
        os.close(top)
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return fd


def watch_changes(directory: Path) -> int:
    """An inotify descriptor that is readable after anything in `directory` was written. The caller closes it."""
    fd: int = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    _check(fd, "watch files")
    _check(
        _libc.inotify_add_watch(fd, str(directory).encode(), IN_MODIFY | IN_CREATE | IN_MOVED_TO), f"watch {directory}"
    )
    return fd


def in_thread(work: Callable[[], T]) -> T:
    """Do `work` in a thread of its own, and wait for its result or error."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as err:  # it is raised again in the caller's thread
            errors.append(err)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _check(result: int, what: str, details: tuple[str, ...] = ()) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise KernelRefused(f"cannot {what}: {os.strerror(code)}", details=details, hint=_hint(code))


def _hint(code: int) -> str:
    if code == 1:  # EPERM
        return "Run as root, outside of a container or in a privileged one."
    if code == 28:  # ENOSPC
        return "The disk is full: `hecd-runtime gc --all` frees unused images."
    return "See the last lines of `dmesg`."
