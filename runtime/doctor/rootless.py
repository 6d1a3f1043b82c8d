"""What this host would have to give an ordinary user to run containers, for when hecd-runtime can do without root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from runtime.doctor.needs import Need
from runtime.subids import LEAST_SIZE, SUBGID, SUBUID, ranges_of

CGROUPS = Path("/sys/fs/cgroup")
_OVERLAY = "mount -t overlay overlay -o userxattr,lowerdir=lower,upperdir=upper,workdir=work merged"


def needs() -> Iterator[Need]:
    """All of them; none is vital, but for root itself."""
    user = _user()
    yield Need("root", False, "Run it with sudo. There is no rootless hecd-runtime yet; below is what it would need.")
    yield _need("user namespaces for everybody", _runs("true"), "sysctl kernel.unprivileged_userns_clone=1")
    yield _need("newuidmap", shutil.which("newuidmap") is not None, "apt-get install uidmap")
    for file in (SUBUID, SUBGID):
        enough = sum(size for _, size in ranges_of(user, file)) >= LEAST_SIZE
        hint = f"As root: echo {user}:START:{LEAST_SIZE} >>{file}"
        yield _need(f"{LEAST_SIZE} ids for {user} in {file}", enough, hint)
    network = any(shutil.which(program) for program in ("pasta", "slirp4netns"))
    yield _need("pasta or slirp4netns", network, "apt-get install passt")
    hint = "Boot with systemd.unified_cgroup_hierarchy=1; Delegate=cpu memory pids for user@.service."
    yield _need("control groups of version 2 of one's own: cpu, memory, pids", _delegated(), hint)
    with tempfile.TemporaryDirectory(prefix="hecd-doctor-") as folder:
        script = f"cd {folder} && mkdir lower upper work merged && {_OVERLAY}"
        yield _need("overlayfs without root", _runs("sh", "-c", script), "It takes Linux 5.11.")


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _need(what: str, fine: bool, hint: str) -> Need:
    return Need(f"rootless: {what}", fine, hint, vital=False)


def _runs(*argv: str) -> bool:
    """Whether this works as root of a user namespace of one's own."""
    words = ["unshare", "--user", "--map-root-user", "--mount", *argv]
    try:
        return subprocess.run(words, check=False, capture_output=True, timeout=5.0).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _delegated(root: Path = CGROUPS, memberships: Path = Path("/proc/self/cgroup")) -> bool:
    """Whether this process may divide its own control group."""
    place = next((line[3:] for line in memberships.read_text().splitlines() if line.startswith("0::")), "")
    group = root / place.lstrip("/")
    try:
        there = (group / "cgroup.controllers").read_text().split()
    except OSError:
        return False
    return {"cpu", "memory", "pids"} <= set(there) and os.access(group / "cgroup.procs", os.W_OK)
