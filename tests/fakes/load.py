"""Load on a machine under test, by a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

TICK_S = 0.3


class Load:
    """Requests until `stop`; `options` are those of registrator.demo.load."""

    def __init__(self, options: Mapping[str, object]) -> None:
        words = [word for name, value in {**options, "tick": TICK_S}.items() for word in (f"--{name}", str(value))]
        argv = [sys.executable, "-m", "registrator.demo.load", *words]
        # A session of its own: the scheduler shares processors out by session, and this one stands for other machines.
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._flowing = threading.Event()
        self._said: dict[str, Any] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def flows(self) -> None:
        """Returns when there have been answers: a process that has not begun yet would die of the order to report."""
        assert self._flowing.wait(60.0), "no request was answered, nor failed"

    def stop(self) -> None:
        """Begin no more requests."""
        self._process.terminate()

    def report(self) -> dict[str, Any]:
        """What came of them, once all have ended."""
        self.stop()
        self._process.wait(120)
        self._reader.join(30.0)
        assert "failures" in self._said, "it ended without a report"
        return self._said

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said = json.loads(line)
            if any(self._said.values()):
                self._flowing.set()
