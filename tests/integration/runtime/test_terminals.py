"""Terminals: what a person types and sees, with a pty in the place of theirs."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runtime.host import Host
from runtime.model import State
from tests.integration.runtime.conftest import IMAGE, Root, becomes, run, traces

PROGRAM = [sys.executable, "-c", "from runtime.cli import main; main()"]
DETACH = b"\x10\x11"


@pytest.fixture
def root(root: Root) -> Iterator[Root]:
    """Laid out as --root has it: DIR/lib/runtime and DIR/run/runtime."""
    found = Root(root.lib / "runtime", root.run / "runtime", root.subnet, root.bridge)
    yield found
    host = found.open()
    for container in host.containers.list():
        host.containers.remove(container.name)
    host.close()
    becomes(lambda: traces(found) == [], what=lambda: f"left: {traces(found)}")


class Person:
    """Someone at a terminal of 30 rows and 100 columns, in which the command runs."""

    def __init__(self, pid: int, fd: int) -> None:
        self.fd = fd
        self.seen = ""
        self._pid = pid
        self._code: int | None = None

    def types(self, text: str | bytes) -> None:
        os.write(self.fd, text.encode() if isinstance(text, str) else text)

    def saw(self, text: str, within_s: float) -> bool:
        """Whether it is to be seen in time."""
        try:
            self.sees(text, within_s)
        except AssertionError:
            return False
        return True

    def sees(self, text: str, within_s: float = 30.0) -> None:
        """Waits for it, and forgets what came before."""
        deadline = time.monotonic() + within_s
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {text!r} in {self.seen!r}"
            try:
                self.seen += os.read(self.fd, 4096).decode()
            except OSError:  # the other end is closed
                assert text in self.seen, self.seen
        self.seen = self.seen.partition(text)[2]

    def resizes(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def echoes(self) -> bool:
        """Whether the terminal is one that people type lines into."""
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def code(self, within_s: float = 30.0) -> int:
        """The exit code of the command."""
        deadline = time.monotonic() + within_s
        while self._code is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, f"it does not end; it said {self.seen!r}"
            if select.select([self.fd], [], [], 0.01)[0]:
                try:
                    self.seen += os.read(self.fd, 4096).decode()
                except OSError:
                    time.sleep(0.01)
        return self._code

    def leaves(self) -> None:
        if self._code is None:
            os.kill(self._pid, 9)
            os.waitpid(self._pid, 0)
        os.close(self.fd)


@contextmanager
def at_a_terminal(root: Root, *words: str) -> Iterator[Person]:
    reader, writer = os.pipe()  # the command begins when its window has its size
    pid, fd = pty.fork()
    if pid == 0:
        os.read(reader, 1)
        os.execv(PROGRAM[0], [*PROGRAM, f"--root={root.lib.parent.parent}", *words])
    person = Person(pid, fd)
    person.resizes(30, 100)
    os.write(writer, b"x")
    os.close(reader)
    os.close(writer)
    try:
        yield person
    finally:
        person.leaves()


# Says its size, then each new one, and ends with the code that is typed. A signal interrupts `read`.
SIZES = (
    "until [ \"$(busybox stty size)\" = '30 100' ]; do sleep 0.02; done; "
    "trap 'echo now $(busybox stty size)' WINCH; echo rea''dy; "
    'x=; until [ "$x" ]; do read x; done; exit $x'
)


def test_exec_has_the_size_of_the_window_and_follows_it(runtime_host: Host, root: Root) -> None:
    run(runtime_host, "c", "/bin/sleep", "60")
    with at_a_terminal(root, "exec", "-it", "c", "sh", "-c", SIZES) as person:
        person.sees("ready")
        assert not person.echoes(), "the terminal here is raw: the one inside echoes"
        person.resizes(40, 120)
        person.sees("now 40 120")
        person.types("7\n")
        assert person.code() == 7
        assert person.echoes(), "and is as before"


def test_keys_are_the_commands_inside(runtime_host: Host, root: Root) -> None:
    run(runtime_host, "c", "/bin/sleep", "60")
    with at_a_terminal(root, "exec", "-it", "c", "sh") as person:
        person.sees("/ # ")
        person.types("echo be''gun; sleep 50\n")
        person.sees("begun")
        for _ in range(10):
            person.types(b"\x03")  # it ends sleep, not us and not the shell
            if person.saw("/ # ", within_s=1.0):
                break  # else the shell had it, which was about to begin sleep
        person.types("echo still he''re\n")
        person.sees("still here")
        person.types("exit 3\n")
        assert person.code() == 3


def test_exec_detaches_and_the_command_goes_on(runtime_host: Host, root: Root) -> None:
    run(runtime_host, "c", "/bin/sleep", "60")
    script = "echo begun; i=0; while [ $i -lt 5000 ]; do echo a line that nobody reads; i=$((i+1)); done; echo >/done"
    with at_a_terminal(root, "exec", "-it", "c", "sh", "-c", f"{script}; sleep 50") as person:
        person.sees("begun")
        person.types(DETACH)
        assert person.code() == 0
        assert person.echoes()
    becomes(lambda: runtime_host.inside.exec_probe("c", ["/bin/ls", "/done"], 30.0)[0] == 0, within_s=30.0)
    assert "sleep 50" in runtime_host.inside.exec_probe("c", ["/bin/busybox", "ps"], 30.0)[1]


def test_a_command_that_is_not_there_says_so(runtime_host: Host, root: Root) -> None:
    run(runtime_host, "c", "/bin/sleep", "60")
    with at_a_terminal(root, "exec", "-it", "c", "/nowhere") as person:
        assert person.code() != 0
        assert "/nowhere" in person.seen


def test_much_is_typed_and_much_is_written_at_once(runtime_host: Host, root: Root) -> None:
    """Nobody waits for the other: neither direction stands still while the other one is full."""
    run(runtime_host, "c", "/bin/sleep", "60")
    script = "busybox stty raw -echo; echo rea''dy; busybox seq 1 20000; busybox head -c 200000 | busybox wc -c"
    with at_a_terminal(root, "exec", "-it", "c", "sh", "-c", script) as person:
        person.sees("ready")
        data, sent = b"x" * 200000, 0
        os.set_blocking(person.fd, False)
        deadline = time.monotonic() + 20.0
        while sent < len(data):
            assert time.monotonic() < deadline
            ready, writable, _ = select.select([person.fd], [person.fd], [], 30.0)
            if ready:
                person.seen += os.read(person.fd, 65536).decode()
            if writable:
                sent += os.write(person.fd, data[sent : sent + 4096])
        os.set_blocking(person.fd, True)
        person.sees("200000")
        assert person.code() == 0


def test_run_with_a_terminal_misses_nothing(runtime_host: Host, root: Root) -> None:
    script = "busybox stty size; test -t 0 && test -t 1 && echo $TERM; read x; echo got $x; exit 9"
    with at_a_terminal(root, "run", "-it", "--rm", "--name", "c", IMAGE, "sh", "-c", script) as person:
        person.sees("xterm")
        person.types("words\n")
        person.sees("got words")
        assert person.code() == 9
        assert person.echoes()
    assert runtime_host.containers.list() == []


def test_detach_and_attach_again(runtime_host: Host, root: Root) -> None:
    with at_a_terminal(root, "run", "-it", "--name", "c", IMAGE, "sh", "-c", SIZES) as person:
        person.sees("ready")
        person.types(DETACH)
        assert person.code() == 0
        assert "detached; c goes on" in person.seen
    assert runtime_host.containers.inspect("c").state is State.RUNNING
    with at_a_terminal(root, "attach", "c") as person:
        person.resizes(50, 60)
        person.sees("now 50 60")
        person.types("4\n")
        assert person.code() == 4
    texts = [line.text.rstrip("\r") for line in runtime_host.inside.logs("c")]
    assert {"ready", "now 50 60"} <= set(texts), f"the log has all of it: {texts}"


def test_attach_shows_both_streams_and_passes_stdin_on(runtime_host: Host, root: Root) -> None:
    words = [*PROGRAM, f"--root={root.lib.parent.parent}"]
    script = "while read x; do echo out $x; echo err $x >&2; done; exit 5"
    run(runtime_host, "c", "/bin/sh", "-c", script, stdin_open=True)
    done = subprocess.run([*words, "attach", "c"], input="a\nb\n", capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (5, "out a\nout b\n", "err a\nerr b\n")
    piped = subprocess.run(
        [*words, "run", "-i", "--rm", IMAGE, "sh", "-c", "cat; exit 6"],
        input="x" * 300000, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert (piped.returncode, piped.stdout) == (6, "x" * 300000)


def test_attach_to_what_does_not_run(runtime_host: Host, root: Root) -> None:
    run(runtime_host, "c", "/bin/true")
    assert runtime_host.containers.wait("c", 30.0)
    words = [*PROGRAM, f"--root={root.lib.parent.parent}", "attach", "c"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "cannot attach to 'c'" in done.stderr
