"""Servers on their way in or out: what one look at the statistics means for each. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from confd_py.haproxy.config import Server
from confd_py.haproxy.plan import Key

QUICK_FOR_S = 1.0  # how long a new server may be checked every few milliseconds
FIRST_CHECK_S = 0.03  # a quick first check that has not even begun by then was put off
_GOOD = ("L4OK", "L6OK", "L7OK")


@dataclass(frozen=True, slots=True)
class Admission:
    """A server in drain that waits for its first good check since `since_s`."""

    key: Key
    row: str  # as `show stat` is asked for it
    server: Server
    quick: bool
    since_s: float


@dataclass(frozen=True, slots=True)
class Removal:
    """A server in maintenance that waits for its last stream to end; then `successor` takes its name."""

    key: Key
    row: str
    successor: Server | None
    since_s: float
    quick: bool = True


Pending = Admission | Removal


def admitted(row: Mapping[str, str], server: Server) -> bool:
    """Whether a row of `show stat` shows a good check *after* it was enabled.

    Right after `enable health` HAProxy calls a server up on trust and shows `DRAIN 1/2`; the first good check makes
    that a plain `DRAIN`.
    """
    if not server.checked or row.get("status") == "no check":
        return True
    good = row.get("check_status", "").removeprefix("* ").startswith(_GOOD)
    return good and row.get("status") in ("DRAIN", "UP")


def overlooked(row: Mapping[str, str], item: Admission, now_s: float) -> bool:
    """Whether the quick first check was put off to the server's long interval: then it has to be added anew."""
    return item.quick and row.get("check_status") == "INI" and now_s - item.since_s > FIRST_CHECK_S


def idle(row: Mapping[str, str]) -> bool:
    """Whether no stream uses the server: only then HAProxy 2.6 may be asked to delete it."""
    return row.get("scur") == "0" and row.get("used_conn_cur", "0") == "0"


def next_look_s(pending: Pending, now_s: float) -> float:
    """How soon it is worth to look again: often while it is young."""
    age_s = now_s - pending.since_s
    if age_s < 0.05:
        return 0.002
    if age_s < 1.0:
        return 0.02
    return 0.1 if age_s < 30.0 else 0.5
