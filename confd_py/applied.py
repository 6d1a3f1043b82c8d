"""The applied-state file: what is in effect, since which revision, and what is not. Others watch it.

It is replaced in one step after every apply and every failure. Beside it `<file>.view` keeps what was seen of the
store, so that the next process can tell a wiped store from an order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from confd_py import dest
from confd_py.guard import Ghost, Remembered
from confd_py.store import Entry


@dataclass(frozen=True)
class Applied:
    """One resource. Times are seconds since the epoch; counters go on over restarts."""

    resource: str
    dest: str
    revision: int = 0  # the newest revision that is fully in effect
    wanted_revision: int = 0  # the newest one that was looked at
    cluster_id: str = "0"  # decimal: it does not fit a JSON number
    epoch: int = 0
    sha256: str = ""  # of the rendered text that is in effect
    applied_at: float = 0.0
    renders: int = 0
    reloads: int = 0
    runtime_ops: int = 0
    drift_repairs: int = 0
    failures: int = 0  # in a row
    next_try_at: float | None = None
    error: str | None = None
    error_details: tuple[str, ...] = ()
    hint: str = ""
    pending_admissions: tuple[str, ...] = ()  # servers that wait for their first good check
    pending_removals: tuple[str, ...] = ()  # servers whose last streams are awaited
    held_by_old_processes: tuple[str, ...] = ()  # drained ones an old process may still use: `revision` waits for them
    behind: tuple[str, ...] = ()  # sockets of HAProxy processes that are not in step
    reload_owed: bool = False  # the file is in place, the reload it needs is not done
    ghosts: tuple[Mapping[str, Any], ...] = ()  # {"key", "cause", "since"}: kept although the store lacks them
    doubt: str | None = None  # why they are kept, in one line
    certificates: tuple[Mapping[str, Any], ...] = ()  # {"file", "names", "ends_at", "fault"}: what is served


def why_not(state: Applied) -> str:
    """Why a resource is not in effect; "" if it is."""
    return state.error or ("" if state.applied_at else "nothing was applied yet")


def file_of_one_run(target: Path, environ: Mapping[str, str]) -> Path:
    """Where `-onetime` notes a reload that it owes: not beside `dest`, where confd leaves nothing else."""
    folder = Path(environ.get("STATE_DIRECTORY") or "/var/lib/confd-py")
    return (
        folder / f"{sha256(os.fspath(target.absolute()).encode(dest.ENCODING, dest.ERRORS)).hexdigest()[:16]}.applied"
    )


def digest(text: str) -> str:
    """SHA-256 of a rendered text, in hexadecimal."""
    return sha256(text.encode(dest.ENCODING, dest.ERRORS)).hexdigest()


def load(path: Path, resource: str, target: str) -> Applied:
    """What the file says; of an absent or damaged one, a fresh start."""
    fresh = Applied(resource, target)
    try:
        stored = json.loads(path.read_text())
        known = {name: stored[name] for name in asdict(fresh) if name in stored}
        counters = {name: int(known.get(name) or 0) for name in ("reloads", "runtime_ops", "drift_repairs", "renders")}
        return replace(fresh, **{**known, **counters, "resource": resource, "dest": target})
    except (OSError, ValueError, TypeError, AttributeError):
        return fresh


def save(path: Path, state: Applied) -> None:
    """Replace the file. Raises WriteFailed."""
    dest.replace_text(path, json.dumps(asdict(state), indent=1) + "\n", durable=False)


def doubt(ghosts: Mapping[str, Ghost]) -> str | None:
    """Why entries are kept that the store no longer has (or has otherwise), for a person."""
    lost = sum(ghost.cause == "doubt" for ghost in ghosts.values())
    if lost:
        return f"the store lost its history: {lost} entries are kept as they were until they are announced again"
    if ghosts:
        return f"{len(ghosts)} entries are kept for a while although their leases expired"
    return None


def save_view(path: Path, view: Remembered) -> None:
    """Replace the remembered view. Raises WriteFailed."""
    record = {
        "revision": view.revision,
        "cluster_id": str(view.cluster_id),
        "entries": {key: _entry(entry) for key, entry in view.entries.items()},
        "ghosts": {key: [_entry(ghost.entry), ghost.cause, ghost.since_s] for key, ghost in view.ghosts.items()},
    }
    dest.replace_text(path, json.dumps(record), durable=False)


def load_view(path: Path) -> Remembered | None:
    """The remembered view, or None if there is none that can be read."""
    try:
        record = json.loads(path.read_text(dest.ENCODING))
        entries = {key: Entry(*fields) for key, fields in record["entries"].items()}
        ghosts = {
            key: Ghost(Entry(*fields), cause, since_s) for key, (fields, cause, since_s) in record["ghosts"].items()
        }
        return Remembered(int(record["revision"]), int(record["cluster_id"]), entries, ghosts)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _entry(entry: Entry) -> list[Any]:
    return [entry.value, entry.revision, entry.lease]
