"""One conversation with one HAProxy process over its stats socket.

A session stays with the worker it was opened to. A command can therefore never reach another process than the
one whose state was looked at, however many reloads happen meanwhile; and when the worker goes, the session ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence

from confd_py.errors import HaproxyAway, HaproxyRefused
from confd_py.haproxy.capabilities import OLDEST, capabilities_of
from confd_py.haproxy.config import STAMP_VARIABLE

_PROMPT = b"\n> "
_LIMIT_BYTES = 256 * 1024 * 1024
_PAYLOAD_PROMPTS = re.compile(r"^(?:\+ ?)+")
_VERSION = re.compile(r"^Version: (\d+)\.(\d+)", re.MULTILINE)
_PID = re.compile(r"^Pid: (\d+)$", re.MULTILINE)
_TOO_OLD = f"Install HAProxy {OLDEST[0]}.{OLDEST[1]} or later."
_STAMP = re.compile(rf"^{STAMP_VARIABLE}=(\S+)$", re.MULTILINE)


class Session:
    """An open conversation; `pid`, `stamp` (empty: none) and what it `can` are those of the worker at its other end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_s: float) -> None:
        self._reader = reader
        self._writer = writer
        self._timeout_s = timeout_s
        self.gone = asyncio.Event()  # set when the conversation is over, whoever ended it
        self.pid = 0
        self.can = capabilities_of(OLDEST)
        self.stamp = ""
        self._prompts_each = False  # whether every command of a line has a prompt of its own

    @classmethod
    async def open(cls, path: str, timeout_s: float = 5.0) -> Session:
        """Greet the process that listens on the UNIX socket at `path`. Raises HaproxyAway."""
        try:
            async with asyncio.timeout(timeout_s):
                protocol, writer = await _connect(path)
        except (OSError, TimeoutError) as err:
            raise _nobody(path, err) from err
        session = cls(protocol.reader, writer, timeout_s)
        protocol.lost = session.gone
        try:
            await session._greet(path)
        except HaproxyAway as err:
            raise _nobody(path, err) from err
        except BaseException:
            await session.close()
            raise
        return session

    async def ask(self, command: str) -> str:
        """The answer to one command, without its trailing blank lines."""
        return (await self.run([command]))[0]

    async def run(self, commands: Sequence[str]) -> list[str]:
        """The answers to all commands, sent at once, in order. Raises HaproxyAway when the worker goes meanwhile.

        Commands joined by `;` are executed without a pause between them, and have one answer. A command that ends in
        `<<` has its lines of payload below it; none of them may be empty.
        """
        if not commands:
            return []
        try:
            async with asyncio.timeout(self._timeout_s + 0.01 * len(commands)):
                self._writer.write("".join(f"{command}\n" for command in commands).encode("utf-8", "surrogateescape"))
                return [await self._answer(command) for command in commands]
        except (OSError, EOFError, TimeoutError) as err:
            await self.close()
            raise HaproxyAway(f"HAProxy process {self.pid} stopped answering: {str(err) or 'timed out'}") from err
        except asyncio.CancelledError:
            await self.close()  # answers are still under way: nobody could tell them apart later
            raise

    @property
    def closed(self) -> bool:
        """Whether the worker, or we, ended it."""
        return self.gone.is_set() or self._writer.is_closing() or self._reader.at_eof()

    async def close(self) -> None:
        """End it, so that an old worker may leave."""
        self.gone.set()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _greet(self, path: str) -> None:
        await self.ask("prompt")
        # The first command's answer holds the second's, too, if this HAProxy prompts once a line.
        first = await self._up_to_prompt(f"show env {STAMP_VARIABLE};show info")
        self._prompts_each = _PID.search(first) is None
        answer = first if not self._prompts_each else f"{first}\n{await self._one()}"
        version, pid, stamp = _VERSION.search(answer), _PID.search(answer), _STAMP.search(answer)
        if "denied" in first.lower():
            raise HaproxyRefused(
                f"{path} does not allow to change anything", hint="Give its `stats socket` level admin."
            )
        if version is None or pid is None:
            raise HaproxyRefused(f"what answers on {path} is not HAProxy", details=(answer[:200],))
        release = int(version[1]), int(version[2])
        if release < OLDEST:
            raise HaproxyRefused(f"what answers on {path} is HAProxy {release[0]}.{release[1]}", hint=_TOO_OLD)
        self.pid, self.can = int(pid[1]), capabilities_of(release)
        self.stamp = stamp[1] if stamp else ""

    async def _up_to_prompt(self, line: str) -> str:
        """The answer up to the first prompt."""
        self._prompts_each = False
        return await self.ask(line)

    async def _answer(self, command: str) -> str:
        line, payload, _ = command.partition("\n")
        parts = line.count(";") + 1 if self._prompts_each else 1
        answer = "\n".join([await self._one() for _ in range(parts)]).strip("\n")
        return _PAYLOAD_PROMPTS.sub("", answer).strip("\n") if payload else answer

    async def _one(self) -> str:
        data = await self._reader.readuntil(_PROMPT)
        return data[: -len(_PROMPT)].decode("utf-8", "replace").strip("\n")


def _nobody(path: str, err: BaseException) -> HaproxyAway:
    return HaproxyAway(
        f"no HAProxy answers on {path}: {str(err) or 'timed out'}",
        hint="It is applied as soon as HAProxy runs with a `stats socket` of level admin there.",
    )


class _Protocol(asyncio.StreamReaderProtocol):
    """A stream protocol that tells at once, not at the next read, that the other end went."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self.reader = reader
        self.lost: asyncio.Event | None = None

    def eof_received(self) -> bool:
        if self.lost is not None:
            self.lost.set()
        super().eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.lost is not None:
            self.lost.set()
        super().connection_lost(exc)


async def _connect(path: str) -> tuple[_Protocol, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_LIMIT_BYTES)
    transport, protocol = await loop.create_unix_connection(lambda: _Protocol(reader), path)
    return protocol, asyncio.StreamWriter(transport, protocol, reader, loop)
