"""check_cmd and reload_cmd: shell lines with a time limit, run in a process group of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal

from confd_py.errors import CommandFailed
from confd_py.gotemplate.once import render_text

_LONGEST = 1 << 16  # bytes: what a pipe holds
_DEATH_S = 2.0  # the kernel may keep a killed process that waits for a disk
_PLACEHOLDER = re.compile(r"\{\{\s*\.(src|dest)\s*\}\}")


def fill(command: str, *, src: str, dest: str) -> str:
    """`command`, a Go template as in confd, with `.src` (the staged file) and `.dest` put in. Raises TemplateFault."""
    return render_text(command, "command", {"src": shlex.quote(src), "dest": shlex.quote(dest)})


def fill_reload(command: str, *, src: str, dest: str) -> str:
    """`command` with `{{.src}}` and `{{.dest}}` put in; confd takes it as it is, so all other braces are its own."""
    return _PLACEHOLDER.sub(lambda match: shlex.quote(src if match[1] == "src" else dest), command)


async def run_shell(command: str, timeout_s: float) -> str:
    """The end of a shell line's output. Raises CommandFailed if it fails, or lasts longer than `timeout_s`.

    It lasts until the shell ends: what it left in the background is not waited for.
    """
    return await _run(["/bin/sh", "-c", command], command, timeout_s)


async def run_program(argv: list[str], timeout_s: float) -> str:
    """The end of a program's output. Raises CommandFailed."""
    return await _run(argv, " ".join(argv), timeout_s)


async def _run(argv: list[str], shown: str, timeout_s: float) -> str:
    with _Ear() as ear:
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=ear.mouth,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as err:
            raise CommandFailed(f"{argv[0]} cannot be started: {err.strerror}") from err
        try:
            async with asyncio.timeout(timeout_s):
                await process.wait()
        except TimeoutError as err:
            await _kill(process)
            raise CommandFailed(f"`{shown}` took longer than {timeout_s:g} s and was killed") from err
        except BaseException:
            await _kill(process)
            raise
        text = ear.heard()
    if process.returncode:
        tail = tuple(line for line in text.strip().splitlines() if line)[-8:]
        raise CommandFailed(f"`{shown}` failed with code {process.returncode}", details=tail)
    return text


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=_DEATH_S)


class _Ear:
    """Hears the end of a command's output while the command lasts, whoever else still holds the other end.

    A pipe of asyncio's own would be waited for until the last process that inherited it is gone.
    """

    def __init__(self) -> None:
        self._text = b""
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> _Ear:
        self._pipe, self.mouth = os.pipe()
        os.set_blocking(self._pipe, False)
        self._loop.add_reader(self._pipe, self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._pipe)
        os.close(self._pipe)
        os.close(self.mouth)

    def heard(self) -> str:
        """The last of it, at most `_LONGEST` bytes."""
        self._listen()  # one read takes all that a pipe holds
        return self._text.decode("utf-8", "replace")

    def _listen(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._text = (self._text + os.read(self._pipe, _LONGEST))[-_LONGEST:]
