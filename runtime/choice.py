"""Which engine has the containers of a root: our own, or a Docker or Podman behind a socket."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime.errors import InvalidSpec, OtherEngine
from runtime.paths import HostPaths
from runtime.state import write_whole

ENGINES = ("oci", "docker", "podman")
SOCKETS = {"docker": "/var/run/docker.sock", "podman": "/run/podman/podman.sock"}


@dataclass(frozen=True)
class Choice:
    """`socket` is "" for `oci`, which needs none."""

    engine: str = "oci"
    socket: str = ""


def chosen(
    paths: HostPaths, engine: str, socket: str, owners: Collection[str], environ: Mapping[str, str] = os.environ
) -> Choice:
    """What is asked for ("": nothing), else what the root had last, else `oci`; remembered.

    `owners` are the names of the root's containers: with any, an engine that is not theirs would take away what they
    have. Raises InvalidSpec, OtherEngine.
    """
    known = _known(paths)
    wanted = _named(engine, socket, environ) if engine or socket else known
    if wanted != known and owners:
        raise OtherEngine(_words(wanted), _words(known), tuple(sorted(owners)))
    if wanted != known:
        write_whole(paths.engine_file, json.dumps(asdict(wanted)).encode())
    return wanted


def _named(engine: str, socket: str, environ: Mapping[str, str]) -> Choice:
    engine = engine or "docker"
    if engine not in ENGINES:
        raise InvalidSpec("engine", (f"{engine!r} is no engine: {', '.join(ENGINES)}",))
    if engine == "oci" and socket:
        raise InvalidSpec("engine", ("the engine 'oci' has no socket; leave --docker-socket out",))
    if engine == "oci":
        return Choice()
    elsewhere = environ.get("DOCKER_HOST", "") if engine == "docker" else ""
    found = (socket or elsewhere or SOCKETS[engine]).removeprefix("unix://")
    if not found.startswith("/"):
        raise InvalidSpec("engine", (f"{found!r} is no path of a socket: the engine has to be on this machine",))
    return Choice(engine, str(Path(found).resolve()))


def _known(paths: HostPaths) -> Choice:
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        return Choice(**json.loads(paths.engine_file.read_bytes()))
    return Choice()


def _words(choice: Choice) -> str:
    return f"{choice.engine} at {choice.socket}" if choice.socket else choice.engine
