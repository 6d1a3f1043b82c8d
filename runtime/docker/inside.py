"""What happens inside of containers of Docker or Podman. See ports.Inside."""

from __future__ import annotations

import math
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from runtime.docker.connection import Connection
from runtime.docker.frames import Demux, frames
from runtime.docker.lines import lines
from runtime.docker.peer import DockerPeer
from runtime.errors import EngineAway, EngineRefused, NotRunning
from runtime.execute import TAIL_BYTES, TIMED_OUT
from runtime.logs import Window
from runtime.model import Container, LogLine, Manner, State
from runtime.ports import AS_IT_IS
from runtime.process import kill_tree
from runtime.terminal import converse

LOOK_EVERY_S = 0.1  # whether a command has ended whose output goes on: what it left running may hold it open
END_WITHIN_S = 2.0
BEGIN_WITHIN_S = 2.0  # Podman tells a code 0 of what has not begun
KILL_WITHIN_S = 10.0  # in which what was ordered has begun, and can be killed
DRAIN_S = 0.3


class DockerInside:
    """Of the containers that `inspect` knows."""

    def __init__(self, connection: Connection, inspect: Callable[[str], Container]) -> None:
        self._connection = connection
        self._inspect = inspect

    def exec_probe(self, name: str, argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
        """Run a command inside: exit code, and the end of what it wrote. At the deadline it is killed inside, and the
        code is 124. Raises ContainerNotFound, NotRunning, EngineAway."""
        deadline = time.monotonic() + timeout_s
        command = self._make(name, argv, tty=False, stdin=False)
        wire = self._connection.hijack(f"/exec/{command}/start", {"Detach": False, "Tty": False})
        with wire:
            tail, code = self._collected(wire, command, deadline)
        if code is None:
            self._kill(command)
            return TIMED_OUT, f"{tail}\n(no answer within {timeout_s:g} s)".lstrip()
        return code, tail

    def exec_interactive(self, name: str, argv: Sequence[str], tty: bool = False, manner: Manner = AS_IT_IS) -> int:
        """Run a command inside on this process's own stdio; its exit code. Raises ContainerNotFound, NotRunning,
        EngineAway."""
        command = self._make(name, argv, tty=tty, stdin=True, manner=manner)
        with self._connection.hijack(f"/exec/{command}/start", {"Detach": False, "Tty": tty}) as wire:
            try:
                resize = partial(self._resize, "exec", command)
                if converse(DockerPeer(wire, tty, resize), terminal=tty):
                    return 0
            except BaseException:
                self._kill(command)
                raise
        return self._code(command)

    def attach(self, name: str) -> DockerPeer:
        """The streams of its first process, from now on. The caller closes it. Raises ContainerNotFound, EngineAway,
        EngineRefused."""
        tty = self._inspect(name).spec.tty
        wire = self._connection.hijack(f"/containers/{name}/attach?stream=1&stdin=1&stdout=1&stderr=1")
        return DockerPeer(wire, tty, partial(self._resize, "containers", name))

    def logs(
        self, name: str, tail: int | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[LogLine]:
        """What it wrote, of all its starts and as far as it is kept, or the last `tail` lines; `since` and `until` have
        to be aware of their time zones. Raises ContainerNotFound, EngineAway."""
        return self._lines(name, Window(tail, since, until), follow=False)

    def follow_logs(
        self, name: str, tail: int | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[LogLine]:
        """The same, and what it writes from now on until it ends, or `until`. Raises ContainerNotFound, EngineAway."""
        return self._lines(name, Window(tail, since, until), follow=self._inspect(name).state is State.RUNNING)

    def tail(self, name: str, n: int) -> Sequence[str]:
        """The text of the last `n` lines it wrote. Raises ContainerNotFound, EngineAway."""
        return [line.text for line in self.logs(name, n)]

    def _lines(self, name: str, window: Window, *, follow: bool) -> Iterator[LogLine]:
        raw = self._inspect(name).spec.tty
        answer = self._connection.stream(f"/containers/{name}/logs", follow=int(follow), **_asked(window))

        def read() -> Iterator[LogLine]:
            try:
                answer.begin()
                pieces = (("stdout", line) for line in answer.lines()) if raw else frames(answer.read)
                found = (line for line in lines(pieces) if window.holds(line))
                counted = window.timed and window.tail is not None and not follow
                yield from deque(found, window.tail) if counted else found
            finally:
                answer.close()

        return read()

    def _make(self, name: str, argv: Sequence[str], *, tty: bool, stdin: bool, manner: Manner = AS_IT_IS) -> str:
        """A command that is ready to be run."""
        container = self._inspect(name)
        if container.state is not State.RUNNING:
            raise NotRunning(name, container.state)
        try:
            with self._connection.asking() as api:
                how = {"user": manner.user, "environment": manner.environment, "workdir": manner.working_dir or None}
                return str(api.exec_create(name, list(argv), stdin=stdin, tty=tty, **how)["Id"])
        except EngineRefused as err:
            state = self._inspect(name).state
            if state is State.RUNNING:
                raise
            raise NotRunning(name, state) from err

    def _collected(self, wire: socket.socket, command: str, deadline: float) -> tuple[str, int | None]:
        """The end of the output, and the exit code; None where it did not end in time. The end of the command counts,
        not that of its output."""
        demux, tail, open_, ran = Demux(), b"", True, False
        settled = time.monotonic() + BEGIN_WITHIN_S
        while (left_s := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([wire] if open_ else [], [], [], min(left_s, LOOK_EVERY_S if open_ else 0.01))
            if ready:
                data = wire.recv(1 << 16)
                open_ = data != b""
                tail = b"".join([tail, *(text for _, text in demux.feed(data))])[-TAIL_BYTES:]
            elif (found := self._command(command))["Running"]:
                ran = True
            elif ran or not open_ or self._has_begun(found, settled):
                rest = self._rest(wire, demux) if open_ else b""
                return _text((tail + rest)[-TAIL_BYTES:]), _exit_code(found)
        return _text(tail), None

    def _has_begun(self, found: Mapping[str, Any], settled: float) -> bool:
        """Whether one that does not run has been run: both engines give the connection away before they begin."""
        return found.get("ExitCode") is not None and (not self._connection.is_podman or time.monotonic() > settled)

    def _kill(self, command: str) -> None:
        """With all that it started; where it is about to begin, as soon as it has."""
        now = time.monotonic()
        while not (pid := int((found := self._command(command))["Pid"])) and time.monotonic() < now + KILL_WITHIN_S:
            if not found["Running"] and self._has_begun(found, now + BEGIN_WITHIN_S):
                return
            time.sleep(0.01)
        kill_tree(pid)

    def _rest(self, wire: socket.socket, demux: Demux) -> bytes:
        """What a command that has ended wrote last, and is still on its way. Its output may go on for ever: what it
        left running has it, too."""
        found, end = b"", time.monotonic() + DRAIN_S
        while (left_s := end - time.monotonic()) > 0 and select.select([wire], [], [], left_s)[0]:
            if not (data := wire.recv(1 << 16)):
                break
            found += b"".join(text for _, text in demux.feed(data))
        return found

    def _command(self, command: str) -> dict[str, Any]:
        with self._connection.asking() as api:
            found: dict[str, Any] = api.exec_inspect(command)
            return found

    def _code(self, command: str) -> int:
        """The exit code of a command whose output has ended: the engine may learn of it a little later."""
        deadline = time.monotonic() + END_WITHIN_S
        while (found := self._command(command))["Running"] and time.monotonic() < deadline:
            time.sleep(0.01)
        return _exit_code(found)

    def _resize(self, kind: str, name: str, rows: int, columns: int) -> None:
        try:
            with self._connection.asking() as api:
                (api.exec_resize if kind == "exec" else api.resize)(name, height=rows, width=columns)
        except (EngineAway, EngineRefused):
            return  # it has just ended


def _asked(window: Window) -> dict[str, Any]:
    """A window in the words of the engine, wider than it is: engines round, and each counts the last lines its way."""
    whole = window.tail is None or window.timed
    found: dict[str, Any] = {"stdout": 1, "stderr": 1, "timestamps": 1, "tail": "all" if whole else window.tail}
    for key, moment, wider_s in (("since", window.since, -1), ("until", window.until, 2)):
        if moment is not None:
            found[key] = math.floor(moment.timestamp()) + wider_s
    return found


def _exit_code(found: dict[str, Any]) -> int:
    code = found.get("ExitCode")
    return 1 if code is None else int(code)


def _text(tail: bytes) -> str:
    return tail.decode(errors="replace").strip()
