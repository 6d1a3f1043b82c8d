"""What callers need of whoever runs containers, and what our own way of running them needs of the program that makes
processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from runtime.model import Container, ContainerSpec, Fetching, Image, LogLine, Manner, Usage
from runtime.process import Process

AS_IT_IS = Manner()


class Made(Protocol):
    """Containers as they are made and unmade. Calls are short and blocking, safe from any thread and process."""

    def create(self, spec: ContainerSpec) -> Container:
        """Of an image that is present. Raises ImageNotFound, ContainerExists, InvalidSpec, NoAddressLeft, PortTaken,
        KernelRefused; then nothing is left of it."""

    def start(self, name: str, made: Callable[[], None] = ...) -> Container:
        """Run it, for the first time or again, with the same address, files and log; fine if it runs. `made` is called
        when one can attach, and nothing runs yet. Raises ContainerNotFound, StartFailed."""

    def remove(self, name: str) -> None:
        """Kill it if it runs, and give back all it had; fine if there is none. Raises StillAlive."""

    def inspect(self, name: str) -> Container:
        """Raises ContainerNotFound."""

    def list(self) -> list[Container]:
        """All containers of this root, by name."""

    def usage(self, name: str) -> Usage | None:
        """What it uses; None if it does not run. Raises ContainerNotFound."""


class Ended(Protocol):
    """Containers as they are brought to their end."""

    def signal(self, name: str, signal: str) -> None:
        """Send a signal to its first process; fine if it has ended. Raises ContainerNotFound, InvalidSpec."""

    def exit_fd(self, name: str) -> int | None:
        """A new file descriptor that is readable once it has ended and its exit code is known; None if it does not run.
        The caller closes it. Raises ContainerNotFound."""

    def wait(self, name: str, timeout_s: float) -> bool:
        """Whether it has ended, at the latest after `timeout_s`. Raises ContainerNotFound."""

    def stop(self, name: str, grace_s: float = 10.0) -> Container:
        """Stop signal, patience, SIGKILL. Raises ContainerNotFound, StillAlive."""


class Containers(Made, Ended, Protocol):
    """Both. What is not on this machine's own disk may also raise EngineAway and EngineRefused, each of these calls."""


class Attachment(Protocol):
    """The container's end of a conversation; see terminal.Peer."""

    def fileno(self) -> int: ...

    def receive(self) -> tuple[int, bytes] | None: ...

    def send(self, data: bytes) -> int: ...

    def resize(self, rows: int, columns: int) -> None: ...

    def close_input(self) -> None: ...

    def close(self) -> None: ...


class Inside(Protocol):
    """What happens inside of containers."""

    def exec_probe(self, name: str, argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
        """Run a command: exit code (124 at the deadline), and the end of what it wrote.
        Raises ContainerNotFound, NotRunning."""

    def exec_interactive(self, name: str, argv: Sequence[str], tty: bool = False, manner: Manner = AS_IT_IS) -> int:
        """Run a command on this process's own stdio; its exit code. Raises ContainerNotFound, NotRunning, InvalidSpec
        for a user that the container has not."""

    def attach(self, name: str) -> Attachment:
        """The streams of its first process, from now on. The caller closes it. Raises ContainerNotFound,
        RuntimeFault."""

    def logs(
        self, name: str, tail: int | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[LogLine]:
        """What it wrote, of all its starts, or the last `tail` lines; `since` and `until` have to be aware of their
        time zones. Raises ContainerNotFound."""

    def follow_logs(
        self, name: str, tail: int | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[LogLine]:
        """The same, and what it writes until it ends, or `until`. Raises ContainerNotFound."""

    def tail(self, name: str, n: int) -> Sequence[str]:
        """The text of the last `n` lines. Raises ContainerNotFound."""


class Images(Protocol):
    """The images that containers are made of."""

    def resolve(self, ref: str) -> Image:
        """What `ref` names: here, else in its registry. Raises ImageNotFound, RegistryUnavailable, InvalidImage."""

    def pull(self, ref: str, *, refresh: bool = False, progress: Callable[[Fetching], None] = ...) -> Image:
        """Make it present; `refresh` asks the registry what a tag names now. Raises as `resolve`."""

    def load(self, path: Path) -> list[Image]:
        """Bring in what an OCI layout, an OCI archive or a `docker save` archive holds. Raises InvalidImage."""

    def list(self) -> list[Image]:
        """Every image, once for each of its names."""


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
    """`init`: path of the small init, "" if there is none. `seccomp`: the default profile's source, None for none.
    `cgroups`: whether containers get control groups, and with them limits."""

    init: str
    swap_limited: bool
    seccomp: dict[str, Any] | None
    cgroups: bool = True
