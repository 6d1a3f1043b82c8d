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

_PLACEHOLDER = re.compile(r"\{\{\s*\.(src|dest)\s*\}\}")


def fill(command: str, *, src: str, dest: str) -> str:
    """`command`, a Go template as in confd, with `.src` (the staged file) and `.dest` put in. Raises TemplateFault."""
    return render_text(command, "command", {"src": shlex.quote(src), "dest": shlex.quote(dest)})


def fill_reload(command: str, *, src: str, dest: str) -> str:
    """`command` with `{{.src}}` and `{{.dest}}` put in; confd takes it as it is, so all other braces are its own."""
    return _PLACEHOLDER.sub(lambda match: shlex.quote(src if match[1] == "src" else dest), command)


async def run_shell(command: str, timeout_s: float) -> str:
    """The output of a shell line. Raises CommandFailed if it fails, or lasts longer than `timeout_s`."""
    return await _run(["/bin/sh", "-c", command], command, timeout_s)


async def run_program(argv: list[str], timeout_s: float) -> str:
    """The output of a program. Raises CommandFailed."""
    return await _run(argv, " ".join(argv), timeout_s)


async def _run(argv: list[str], shown: str, timeout_s: float) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as err:
        raise CommandFailed(f"{argv[0]} cannot be started: {err.strerror}") from err
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate()
    except TimeoutError as err:
        await _kill(process)
        raise CommandFailed(f"`{shown}` took longer than {timeout_s:g} s and was killed") from err
    except BaseException:
        await _kill(process)
        raise
    text = output.decode("utf-8", "replace")
    if process.returncode:
        tail = tuple(line for line in text.strip().splitlines() if line)[-8:]
        raise CommandFailed(f"`{shown}` failed with code {process.returncode}", details=tail)
    return text


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await asyncio.shield(process.wait())
