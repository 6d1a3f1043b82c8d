"""Hears of the ends of containers: subscribes first, looks second, and does so again when the engine was away."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from runtime.docker.connection import Answer, Connection
from runtime.errors import EngineAway, EngineRefused

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
OVERLAP_S = 2  # of what an engine is asked to say again: its clock counts whole seconds


class Watch:
    """An event is a doorbell: what counts is what `run_of` says then, the word of a container's present run, "" if it
    does not run. So an event that comes twice does no harm, nor does one that comes late."""

    def __init__(self, connection: Connection, run_of: Callable[[str], str]) -> None:
        self._connection = connection
        self._run_of = run_of
        self._lock = threading.Lock()
        self._bells: dict[str, tuple[str, int]] = {}  # container -> its run, and the eventfd that tells of its end
        self._thread: threading.Thread | None = None
        self._answer: Answer | None = None
        self._closed = False

    def fd(self, container: str, run: str) -> int:
        """A new descriptor that is readable once this run has ended. The caller closes it. Raises EngineRefused."""
        with self._lock:
            before = self._bells.get(container)
            if before is None or before[0] != run:
                self._ring(container)
                self._bells[container] = (run, os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
            fd = os.dup(self._bells[container][1])
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, daemon=True, name="engine events")
                self._thread.start()
        try:
            with suppress(EngineAway):  # it is looked at when the engine is back
                self._look(container)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def close(self) -> None:
        """Hear no more."""
        self._closed = True
        with self._lock:
            if self._answer is not None:
                self._answer.interrupt()
            for _, bell in self._bells.values():
                os.close(bell)
            self._bells.clear()

    def _listen(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._closed:
            with suppress(EngineAway, EngineRefused):
                self._hear()
                pause_s = FIRST_PAUSE_S
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _hear(self) -> None:
        filters = json.dumps({"type": ["container"]})
        answer = self._connection.stream("/events", since=int(time.time()) - OVERLAP_S, filters=filters)
        self._answer = answer
        try:
            for container in list(self._bells):  # the request is on its way: nothing gets lost between
                self._look(container)
            answer.begin()
            for line in answer.lines():
                self._heard(line)
        finally:
            answer.close()

    def _heard(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            container = (event.get("Actor") or {}).get("ID") or event.get("id") or ""
            action = str(event.get("Action") or event.get("status") or "")
        except (ValueError, AttributeError):
            return
        if container in self._bells and not action.startswith("exec"):
            self._look(container)

    def _look(self, container: str) -> None:
        run = self._run_of(container)
        with self._lock:
            if (known := self._bells.get(container)) is not None and known[0] != run:
                self._ring(container)

    def _ring(self, container: str) -> None:
        if (known := self._bells.pop(container, None)) is not None:
            os.eventfd_write(known[1], 1)
            os.close(known[1])
