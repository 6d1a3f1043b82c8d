"""What an ordinary user needs before hecd-runtime can make namespaces for them; `needs` knows what it takes inside."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator

from runtime.doctor.need import Need
from runtime.keeper import PROGRAMS
from runtime.subids import LEAST_SIZE, SUBGID, SUBUID, ranges_of, spare


def needs() -> Iterator[Need]:
    """All of them, in the order in which they are worth mending."""
    for program, package in PROGRAMS:
        yield Need(f"without root: {program}", shutil.which(program) is not None, f"apt-get install {package}")
    user, files = _user(), (SUBUID, SUBGID)
    for file in files:
        enough = sum(size for _, size in ranges_of(user, file)) >= LEAST_SIZE
        hint = f"As root: echo {user}:{spare(files)}:{LEAST_SIZE} >>{file}"
        yield Need(f"without root: {LEAST_SIZE} ids for {user} in {file}", enough, hint)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
