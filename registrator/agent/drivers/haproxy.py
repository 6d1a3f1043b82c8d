"""The HAProxy beside this agent: its statistics socket, and the file in which confd-py says what it applied.

The socket, and not the haproxy-stats library: that one speaks only HTTP, through a client that blocks and takes 0.1 s
to import, and drains are watched every few milliseconds.
"""

from __future__ import annotations

import csv
import json
import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from registrator.agent.ports import BalancerReport
from registrator.model.certificate import Certificate
from registrator.model.node import ServerReport

log = logging.getLogger(__name__)

_SERVERS_AND_BACKENDS = 4 | 2


class HaproxyBalancer:
    """See agent.ports.Balancer. `socket_path` is the stats socket, `applied` confd-py's applied-state file."""

    def __init__(self, socket_path: Path, applied: Path) -> None:
        self._socket = socket_path
        self._applied = applied
        self._checks: dict[tuple[str, str], str] = {}

    def read(self) -> BalancerReport:
        applied = self._read_applied()
        certificates = tuple(_certificates(applied.get("certificates")))
        try:
            rows, info = self._show()
        except OSError as err:
            fault = f"HAProxy does not answer ({err.strerror or err})"
            return BalancerReport(
                _int(applied.get("revision")),
                reloads=_int(applied.get("reloads")),
                error=fault,
                certificates=certificates,
            )
        return BalancerReport(
            applied_revision=_int(applied.get("revision")),
            servers=self._servers(rows),
            reloads=_int(applied.get("reloads")),
            error=_text(applied.get("error")),
            doubt=_text(applied.get("doubt")),
            uncounted=_int(info.get("DroppedLogs")),
            queues=_queues(rows),
            certificates=certificates,
        )

    def watch(self, ring: Callable[[], None]) -> Callable[[], None]:
        observer = Observer()
        self._applied.parent.mkdir(parents=True, exist_ok=True)
        observer.schedule(_Ringer(self._applied.name, ring), str(self._applied.parent))
        observer.start()
        return observer.stop

    def end_sessions(self, backend: str, server: str) -> None:
        try:
            self._ask(f"shutdown sessions server {backend}/{server}")
        except OSError as err:
            log.warning("sessions not ended server=%s/%s reason=%s", backend, server, err)

    def connections(self, backend: str, server: str) -> list[str]:
        marks = f" be={backend} ", f" srv={server} "
        try:
            lines = self._ask("show sess").splitlines()
        except OSError:
            return []
        return [line.partition(":")[0] for line in lines if all(mark in line for mark in marks)]

    def close_tunnels(self, connections: Iterable[str]) -> int:
        closed = 0
        try:
            for name in connections:
                if _is_tunnel(self._ask(f"show sess {name}")):
                    self._ask(f"shutdown session {name}")
                    closed += 1
        except OSError as err:
            log.warning("connections not closed reason=%s", err)
        return closed

    def _servers(self, rows: Iterable[dict[str, str]]) -> dict[str, dict[str, ServerReport]]:
        found: dict[str, dict[str, ServerReport]] = {}
        checks: dict[tuple[str, str], str] = {}
        for row in rows:
            if row["svname"] != "BACKEND":
                place = (row["pxname"], row["svname"])
                # A star: another check is under way. Nothing: it is not checked any more, being on its way out.
                check = row.get("check_status", "").removeprefix("* ") or self._checks.get(place, "")
                checks[place] = check
                sessions = _int(row["scur"]) + _int(row["qcur"])
                found.setdefault(place[0], {})[place[1]] = ServerReport(
                    row["status"], _int(row["weight"]), sessions, check
                )
        self._checks = checks
        return found

    def _read_applied(self) -> dict[str, object]:
        try:
            value = json.loads(self._applied.read_text())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def _show(self) -> tuple[list[dict[str, str]], dict[str, str]]:
        """The rows of its statistics, and what it says of itself."""
        stat, _, info = self._ask(f"show stat -1 {_SERVERS_AND_BACKENDS} -1;show info").partition("\n\n")
        rows = list(csv.DictReader(stat.lstrip("# ").strip().splitlines()))
        return rows, dict(line.split(": ", 1) for line in info.splitlines() if ": " in line)

    def _ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(1.0)
            sock.connect(str(self._socket))
            sock.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


class _Ringer(FileSystemEventHandler):
    """Rings when the one file of interest was written or renamed into place."""

    def __init__(self, name: str, ring: Callable[[], None]) -> None:
        self._name = name
        self._ring = ring

    def on_any_event(self, event: FileSystemEvent) -> None:
        paths = (str(event.src_path), str(event.dest_path))
        if event.event_type in ("moved", "closed", "created") and any(Path(p).name == self._name for p in paths):
            self._ring()


def _queues(rows: Iterable[dict[str, str]]) -> dict[str, dict[str, int]]:
    """Where requests wait; a backend's own queue has the name ""."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        if waiting := _int(row["qcur"]):
            server = "" if row["svname"] == "BACKEND" else row["svname"]
            found.setdefault(row["pxname"], {})[server] = waiting
    return found


def _is_tunnel(shown: str) -> bool:
    """Of what HAProxy shows of one connection: without states of a request it is TCP's; "" if it has ended."""
    return "rsp.st=MSG_TUNNEL" in shown or ("server=" in shown and "rsp.st=" not in shown)


def _certificates(told: object) -> Iterator[Certificate]:
    for item in told if isinstance(told, list) else ():
        names = tuple(map(str, item.get("names", ())))
        yield Certificate(str(item.get("file")), names, float(item.get("ends_at", 0.0)), str(item.get("fault", "")))


def _text(value: object) -> str | None:
    return str(value) if value else None


def _int(value: object) -> int:
    return int(value) if isinstance(value, int | str) and str(value).isdigit() else 0
