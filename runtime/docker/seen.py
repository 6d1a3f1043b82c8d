"""A container as Docker or Podman tells of it, in our words. Pure."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from runtime.docker.body import ADDRESS6_LABEL, ADDRESS_LABEL, IMAGE_LABEL, ROOT_LABEL, SPEC_LABEL
from runtime.model import Container, State
from runtime.state import spec_of

RUNS = frozenset({"running", "paused", "restarting", "stopping"})
UNSEEN_CODE = 255  # of what ended while Docker did not run
_NEVER = "0001-01-01"


def is_ours(found: Mapping[str, Any], root: str) -> bool:
    """Whether this root made it."""
    return (found["Config"].get("Labels") or {}).get(ROOT_LABEL) == root


def container_of(found: Mapping[str, Any], booted_at: float) -> Container:
    """From what /containers/ID/json answers. `booted_at` is when this host was started, in Unix time."""
    labels, state = found["Config"]["Labels"], found["State"]
    started_at, ended_at = moment(state.get("StartedAt")), moment(state.get("FinishedAt"))
    where = _state(state, started_at, booted_at)
    code = int(state["ExitCode"]) if where is State.EXITED else None
    return Container(
        name=found["Name"].lstrip("/"),
        spec=spec_of(json.loads(labels[SPEC_LABEL])),
        state=where,
        pid=int(state["Pid"]) if where is State.RUNNING else None,
        exit_code=code,
        signal=_signal(code),
        oom_killed=bool(code) and bool(state.get("OOMKilled")),
        address=labels[ADDRESS_LABEL],
        image_digest=labels[IMAGE_LABEL],
        created_at=moment(found["Created"]) or 0.0,
        started_at=started_at if where is not State.CREATED else None,
        finished_at=ended_at if where is State.EXITED else None,
        log_path=found.get("LogPath") or "",
        address6=labels.get(ADDRESS6_LABEL, ""),
    )


def run_of(found: Mapping[str, Any]) -> str:
    """A word for the run it is in, another one after each start; "" if it does not run."""
    state = found["State"]
    return f"{state['Pid']} {state['StartedAt']}" if state["Status"] in RUNS else ""


def _state(state: Mapping[str, Any], started_at: float | None, booted_at: float) -> State:
    status = state["Status"]
    if status in RUNS:
        return State.RUNNING
    if started_at is None or status in ("created", "configured", "initialized"):
        return State.CREATED
    if status == "dead" or (state["ExitCode"] == UNSEEN_CODE and started_at < booted_at):
        return State.LOST
    return State.EXITED


def _signal(code: int | None) -> str | None:
    if code is None or code <= 128:
        return None
    with suppress(ValueError):
        return signal.Signals(code - 128).name
    return None


def moment(when: Any) -> float | None:
    """Unix time of what is written with nanoseconds; None for Go's zero, and for what is no time."""
    if not isinstance(when, str) or not when or when.startswith(_NEVER):
        return None
    head, _, rest = when.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :] or when[19:]
    with suppress(ValueError):
        return datetime.fromisoformat(f"{head[:19]}.{digits[:6]:0<6}{zone or '+00:00'}").timestamp()
    return None
