"""What systemd is told, also when it does not read for a while."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest

from confd_py.cli import _log_to_stderr
from confd_py.observe.systemd import Notifier


def received(reader: socket.socket) -> list[str]:
    reader.setblocking(False)
    found = []
    while True:
        try:
            found.append(reader.recv(4096).decode())
        except BlockingIOError:
            return found


def test_a_reader_who_is_busy_is_not_waited_for_and_misses_nothing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(tmp_path / "notify"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for _ in range(1000):  # far more than fit into its queue
            notifier.say("WATCHDOG=1")
        notifier.say("READY=1")
        taken = received(reader)
        assert "READY=1" not in taken
        notifier.say()
        assert received(reader) == ["WATCHDOG=1", "READY=1"]
        notifier.say()
        assert received(reader) == []


def test_nobody_there_is_no_failure(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).say("READY=1")
    Notifier({}).say("READY=1")


def test_the_end_of_watching_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    _log_to_stderr("info")
    logger = logging.getLogger("watchdog.observers.inotify")
    logger.error("InotifyEmitter.queue_events() called when the thread is inactive")
    logger.warning("Inotify queue overflowed")
    told = capsys.readouterr().err
    assert "inactive" not in told
    assert "overflowed" in told
