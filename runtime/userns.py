"""User namespaces, in which the root of a container is none of the host's users."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.errors import KernelRefused
from runtime.linux import MS_BIND, mount, unmount
from runtime.model import IdMap, IdRange


def ensure(pin: Path, idmap: IdMap) -> None:
    """Make a user namespace with these ids, pinned at `pin`. Fine if it is there. Raises KernelRefused."""
    if os.path.ismount(pin):
        return
    pin.touch()
    with standing("make a user namespace", "unshare", "--user") as pid:
        _write(pid, "uid_map", idmap.uids)
        _write(pid, "gid_map", idmap.gids)
        mount(f"/proc/{pid}/ns/user", str(pin), "", MS_BIND)


def drop(pin: Path) -> None:
    """Unpin it; it ends with its last process and mount. Fine if it is gone."""
    unmount(str(pin))
    pin.unlink(missing_ok=True)


@contextmanager
def standing(what: str, *argv: str) -> Iterator[int]:
    """A process that has become what `argv` makes of it, and stands still; its pid. A thread of ours cannot: only a
    process of one thread changes its user namespace. Raises KernelRefused in its words."""
    with subprocess.Popen(
        [*argv, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdin and child.stdout and child.stderr
        with suppress(BrokenPipeError):
            child.stdin.write(b"\n")
            child.stdin.flush()
        if child.stdout.read(1) != b"\n":  # `cat` runs, so all before it is done
            words = child.stderr.read().decode(errors="replace").strip()
            raise KernelRefused(f"cannot {what}: {words}", hint="sysctl user.max_user_namespaces says how many may be.")
        yield child.pid


def _write(pid: int, file: str, ranges: Sequence[IdRange]) -> None:
    text = "\n".join(f"{r.inside} {r.outside} {r.size}" for r in ranges)
    try:
        Path(f"/proc/{pid}/{file}").write_text(text)
    except OSError as err:
        raise KernelRefused(f"cannot write {file} of a user namespace: {err.strerror}", details=(text,)) from err
