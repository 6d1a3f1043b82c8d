"""A container as it stands now, put together from its record, its last start and the kernel."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

from runtime.model import Container, State
from runtime.paths import HostPaths
from runtime.ports import Engine
from runtime.state import Records, Start

SHIM_TIMEOUT_S = 5.0


def container_of(name: str, paths: HostPaths, records: Records, engine: Engine) -> Container:
    """Raises ContainerNotFound."""
    record = records.read(name)
    start = records.read_start(name)
    exit_file = paths.bundle(name) / "exit"
    state, code = _state(start, exit_file, was_started=records.was_started(name))
    return Container(
        name=name,
        spec=record.spec,
        state=state,
        pid=start.process.pid if start and state is State.RUNNING else None,
        exit_code=code,
        signal=_signal(code),
        oom_killed=bool(code) and engine.oom_kills(paths.cgroup(name)) > 0,
        address=record.address,
        image_digest=record.image_digest,
        created_at=record.created_at,
        started_at=start.started_at if start else None,
        finished_at=_modified(exit_file) if code is not None else None,
        log_path=str(paths.log(name)),
        restarts=records.restarts(name).count,
        idmap=record.idmap,
        address6=record.address6,
    )


def _state(start: Start | None, exit_file: Path, *, was_started: bool) -> tuple[State, int | None]:
    if start is None:
        return (State.LOST if was_started else State.CREATED), None
    if start.process.alive():
        return State.RUNNING, None
    start.shim.wait(SHIM_TIMEOUT_S)  # it is about to write the exit code, if it lives
    try:
        return State.EXITED, int(exit_file.read_text())
    except (FileNotFoundError, ValueError):
        return State.LOST, None


def _signal(code: int | None) -> str | None:
    if code is None or code <= 128:
        return None
    with contextlib.suppress(ValueError):
        return signal.Signals(code - 128).name
    return None


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None
