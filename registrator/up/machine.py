"""One machine: its directories, ports, confdir, and the lock that says that it is up."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import socket
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from registrator.config import Config
from registrator.errors import AlreadyRunning, MissingProgram
from registrator.registry.etcd import open_store
from registrator.registry.world import Reader, World
from registrator.up.programs import Program, haproxy_run, programs
from registrator.up.supervisor import Print, Supervisor

NEEDED = {"etcd": "etcd-server", "haproxy": "haproxy", "setpriv": "util-linux"}


def prepare(config: Config) -> tuple[Config, tuple[Program, ...]]:
    """Make the directories and the confdir; the settings with the ports in use, and the programs to run.

    Raises MissingProgram.
    """
    for program, package in NEEDED.items():
        if shutil.which(program) is None:
            raise MissingProgram(program, package)
    for path in (config.lib, config.run, haproxy_run(config)):
        path.mkdir(parents=True, exist_ok=True)
    etcd_port = _port(config.endpoint_file, 2379)
    peer_port = _port(config.run / "etcd.peer", 2380)
    config = replace(
        config, etcd=(f"127.0.0.1:{etcd_port}",), stats_port=_port(config.run / "stats", config.stats_port)
    )
    write_confdir(config, "haproxy")
    return config, programs(config, etcd_port=etcd_port, peer_port=peer_port)


@contextmanager
def lock(config: Config) -> Iterator[None]:
    """Held while the machine is up. Raises AlreadyRunning."""
    config.run.mkdir(parents=True, exist_ok=True)
    with (config.run / "up.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            pid = running_pid(config)
            raise AlreadyRunning(
                f"hecd up already runs here (pid {pid}, {config.run})",
                hint="Use it, stop it with `hecd down`, or start another one with --root DIR.",
            ) from err
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def running_pid(config: Config) -> int | None:
    """The process id of the `hecd up` of this root; None if none runs."""
    return holder_of(config.run / "up.lock")


def holder_of(lock_file: Path) -> int | None:
    """The process id that who holds a lock wrote into its file; None if nobody does."""
    try:
        with lock_file.open("r+") as file:
            text = file.read()
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(text or 0) or None
    except FileNotFoundError:
        pass
    return None


@contextmanager
def running(config: Config, show: Print) -> Iterator[tuple[Config, Supervisor]]:
    """The machine's supervisor, under the lock. Start and stop are the caller's."""
    with lock(config):
        config, wanted = prepare(config)
        yield config, Supervisor(wanted, show)


async def ready(config: Config, within_s: float) -> World:
    """Wait until agent and load balancer have announced themselves. Raises RegistryUnavailable, TimeoutError."""
    reader = Reader()
    async with asyncio.timeout(within_s):
        async with open_store(config.access) as store:
            while True:
                snapshot = store.snapshot()
                world = reader.read(snapshot)
                edge = next((e for n, e in world.edges.items() if n == config.node), None)
                if config.node in world.nodes and edge is not None and not edge.error and edge.applied_revision:
                    return world
                await store.changed(snapshot.mark)


def data_dir(name: str) -> Path:
    """Where `templates` or `examples` are: beside the packages in a checkout, else in the installation's data."""
    beside = Path(__file__).resolve().parents[2] / name
    return beside if beside.is_dir() else Path(sysconfig.get_path("data"), "share", "hecd", name)


def write_confdir(config: Config, *names: str) -> None:
    """A copy of these templates, so that an operator may look at what is in force; their paths come by environment."""
    for name in names:
        shutil.copytree(data_dir("templates") / name, config.run / "confd", dirs_exist_ok=True)


def _port(file: Path, wanted: int) -> int:
    """The port used last time, or the wanted one, or any: whichever is free; remembered in `file`."""
    last = 0
    with suppress(FileNotFoundError, ValueError):
        last = int(file.read_text().rpartition(":")[2])
    port = next((p for p in (last, wanted) if p and _take(p)), 0)
    while not port:
        port = found if _take(found := any_port()) else 0
    file.write_text(f"127.0.0.1:{port}")
    return port


def _take(port: int) -> bool:
    """Take a port that nobody uses now; another `hecd up` that looks before it is used finds it taken. Else its parts
    might speak to our etcd."""
    if port not in _taken:
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            mark.bind(f"\0hecd-port-{port}")
        except OSError:
            mark.close()
            return False
        _taken[port] = mark
    if _free(port):
        return True
    _taken.pop(port).close()
    return False


_taken: dict[int, socket.socket] = {}  # for as long as this process lives


def _free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def any_port() -> int:
    """A TCP port that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port
