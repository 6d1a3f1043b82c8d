"""An ordinary user, and how they call hecd-runtime: both are there in a mount namespace only; the host is not changed.

There, /etc/passwd knows the user, and /etc/subuid and /etc/subgid set ids aside; and where the Python that runs the
tests lies below a directory that is closed to others (as /root is), that is covered, but for what is needed of it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.process import Process

NAME = "hecd-tester"
IDS = "2000000:65536"
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin"
PROGRAM = (sys.executable, "-P", "-c", "from runtime.cli import main; main()")
STAGE = "/mnt"


@dataclass(frozen=True)
class User:
    """`stand_in` is a process of root's in the user's mount namespace; `folder` has their home."""

    uid: int
    folder: Path
    stand_in: int

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def root(self) -> Path:
        """Where their containers are."""
        return self.home / ".local/share/hecd"

    def argv(self, *words: str) -> list[str]:
        """What calls hecd-runtime as this user."""
        variables = {"HOME": str(self.home), "PATH": PATH, "PYTHONDONTWRITEBYTECODE": "1"}
        return [
            *("nsenter", f"--mount=/proc/{self.stand_in}/ns/mnt"),
            *("setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"),
            *("env", "-i", *(f"{key}={value}" for key, value in variables.items())),
            *(*PROGRAM, *words),
        ]

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = self.argv(*words)
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)

    def processes(self, text: str = "") -> list[Process]:
        """Those of the user that have this in their command lines."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                words = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if path.stat().st_uid == self.uid and text in words and (process := Process.of(int(path.name))):
                    found.append(process)
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found


@contextmanager
def ordinary_user() -> Iterator[User]:
    """The user; afterwards none of their processes and files."""
    uid = 64_000 + os.getpid() % 1000
    folder = Path(tempfile.mkdtemp(prefix="hecd-"))  # short: the path of a socket may have 107 bytes
    folder.chmod(0o755)
    (folder / "home").mkdir()
    os.chown(folder / "home", uid, uid)
    script = _script(folder, uid)
    stand_in = subprocess.Popen(
        ["unshare", "--mount", "sh", "-ec", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert stand_in.stdout is not None and stand_in.stdout.readline() == b"ready\n"
        yield User(uid, folder, stand_in.pid)
    finally:
        for process in User(uid, folder, stand_in.pid).processes():
            process.signal(signal.SIGKILL)
            process.wait(5.0)
        stand_in.communicate()
        shutil.rmtree(folder)


def _script(folder: Path, uid: int) -> str:
    """Mounts all that, says `ready`, and stays until its input ends."""
    passwd = Path("/etc/passwd").read_text() + f"{NAME}:x:{uid}:{uid}::{folder}/home:/bin/sh\n"
    texts = {"passwd": passwd, "subuid": f"{NAME}:{IDS}\n", "subgid": f"{NAME}:{IDS}\n"}
    for name, text in texts.items():
        (folder / name).write_text(text)
    there = [f"[ -e /etc/{name} ] || : >/etc/{name}; mount --bind {folder}/{name} /etc/{name}" for name in texts]
    # Hosts with udev let everybody open it, others do not.
    tun = f"mknod -m 666 {folder}/tun c 10 200; mount --bind {folder}/tun /dev/net/tun"
    return "\n".join([*there, tun, *_opened(), "echo ready", "exec cat >/dev/null"])


def _opened() -> list[str]:
    """Commands that let everybody get to this Python and this code."""
    wanted = {Path(sys.base_prefix), Path(sys.prefix), Path(__file__).resolve().parents[3]}
    closed = {path: top for path in sorted(wanted) if (top := _closed_above(path))}
    places = [path for path in closed if not any(path.is_relative_to(other) for other in closed if other != path)]
    if not places:
        return []
    return [
        f"mount -t tmpfs none {STAGE}",
        *(f"mkdir {STAGE}/{n}; mount --rbind {path} {STAGE}/{n}" for n, path in enumerate(places)),
        *(f"mount -t tmpfs -o mode=755 none {top}" for top in sorted(set(closed.values()))),
        *(f"mkdir -p {path}; mount --move {STAGE}/{n} {path}" for n, path in enumerate(places)),
    ]


def _closed_above(path: Path) -> Path | None:
    return next((top for top in reversed((path, *path.parents)) if not top.stat().st_mode & 0o001), None)
