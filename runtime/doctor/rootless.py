"""What an ordinary user needs before hecd-runtime can make namespaces for them; `needs` knows what it takes inside."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path

from runtime.doctor.need import Need
from runtime.keeper import PROGRAMS
from runtime.subids import LEAST_SIZE, SUBGID, SUBUID, ranges_of, spare

TUN = Path("/dev/net/tun")  # slirp4netns makes the way out of it; udev lets everybody open it


def needs() -> Iterator[Need]:
    """All of them, in the order in which they are worth mending."""
    for program, package in PROGRAMS:
        yield Need(f"without root: {program}", shutil.which(program) is not None, f"apt-get install {package}")
    user, files = _user(), (SUBUID, SUBGID)
    for file in files:
        enough = sum(size for _, size in ranges_of(user, file)) >= LEAST_SIZE
        hint = f"As root: echo {user}:{spare(files)}:{LEAST_SIZE} >>{file}"
        yield Need(f"without root: {LEAST_SIZE} ids for {user} in {file}", enough, hint)
    fine = os.access(TUN, os.R_OK | os.W_OK)
    yield Need(f"without root: {TUN} may be opened", fine, f"As root: modprobe tun; chmod 666 {TUN}")


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
