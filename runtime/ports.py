"""What the life of a container needs of the program that makes processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from runtime.model import Usage
from runtime.process import Process


@dataclass(frozen=True)
class Launched:
    """The first process of a container, and the shim that writes its log and its exit code."""

    process: Process
    shim: Process


@dataclass(frozen=True)
class Streams:
    """What the first process of a container reads and writes. With `log_bytes` 0 the log is begun anew by nobody, with
    any other number once it is longer."""

    terminal: bool = False
    stdin: bool = False  # somebody may be attached and type
    log_bytes: int = 64 << 20


PLAIN = Streams()


class Engine(Protocol):
    """Makes processes from bundles. A bundle directory afterwards has `exit`, with the exit code, once it ended."""

    def launch(
        self, name: str, bundle: Path, log: Path, streams: Streams = PLAIN, made: Callable[[], None] = lambda: None
    ) -> Launched:
        """Run what `bundle`/config.json says; lines go to the end of `log`. `made` is called when all is there, and
        nothing runs yet: who attaches then misses no byte. Raises StartFailed."""

    def discard(self, name: str) -> None:
        """Kill what runs under this name and forget it; fine if there is nothing."""

    def oom_kills(self, cgroup: str) -> int:
        """How many of its processes were killed for want of memory."""

    def usage(self, cgroup: str) -> Usage:
        """What its processes have used, but for the network."""

    def exec_argv(
        self, name: str, process: dict[str, Any], scratch: Path, console: Path | None = None
    ) -> Sequence[str]:
        """The command that runs `process` in the container, on the stdio it is given, or on a terminal that it hands
        over at the socket `console`. `scratch`/pid will hold its process number; the caller deletes `scratch`."""

    def surroundings(self) -> EngineFacts:
        """What bundles for this engine have to know."""


@dataclass(frozen=True)
class EngineFacts:
    """`init`: path of the small init, "" if there is none. `seccomp`: the default profile's source, None for none."""

    init: str
    swap_limited: bool
    seccomp: dict[str, Any] | None
