"""A lab put up, found again, and taken down. Down is one way that works whatever happened before: nothing is asked, all
that is the lab's is found in the kernel and taken away."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from registrator.errors import AlreadyRunning, HecdError, MissingProgram, NotFound
from registrator.lab import keeper, power, wires
from registrator.lab.namespace import Namespace, unmount
from registrator.lab.plan import Lab, planned, read, settings_text, written
from registrator.model.names import NodeName
from registrator.registry.etcd import open_store
from registrator.registry.store import Store
from registrator.registry.world import Reader, World

FOLDER = Path("/var/lib/hecd-lab")
READY_WITHIN_S = 60.0
NEEDED = {"etcd": "etcd-server", "haproxy": "haproxy", "crun": "crun", "conmon": "conmon",
          "setpriv": "util-linux", "nsenter": "util-linux", "unshare": "util-linux"}  # fmt: skip
NEEDED_BY_VIP = {"keepalived": "keepalived", "socat": "socat", "ip": "iproute2"}


def up(
    folder: Path, count: int, edges: int, etcd: int, say: Callable[[str], None], within_s: float = READY_WITHIN_S
) -> Lab:
    """Put a lab up and wait until all its parts have found each other. On failure nothing is left of it.

    Raises HecdError, AlreadyRunning.
    """
    _check(folder, edges)
    folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _alone(folder), contextlib.ExitStack() as choosing:
        _check(folder, edges)
        choosing.enter_context(_chooses_a_network())
        lab = planned(folder, count, edges, etcd, wires.networks(), _link(folder))
        _take_down(folder)  # what a killed one left
        folder.mkdir(mode=0o755)
        try:
            (folder / "lab.json").write_text(written(lab))
            _build(lab)
            choosing.close()
            say(f"{count} hosts are wired up in {lab.network}")
            _start_keeper(lab)
            asyncio.run(_ready(lab, within_s))
        except BaseException as err:
            words = _last_words(lab)
            _take_down(folder)
            if isinstance(err, TimeoutError):
                raise HecdError(f"the lab is not up after {within_s:g} s", details=words) from err
            raise
    return lab


def down(folder: Path) -> bool:
    """Take away all that is or was a lab there; whether anything was. Raises HecdError where something does not go, or
    is no lab's, and AlreadyRunning."""
    if not folder.parent.exists():
        return False
    with _alone(folder):
        return _take_down(folder)


def _take_down(folder: Path) -> bool:
    _refuse_others(folder)
    lab = _remains(folder)
    if lab is not None:
        if (pid := keeper.running_pid(folder)) is not None:
            _kill(pid)
        for host in lab.hosts:
            power.erase_running(lab, host)
        wires.take_shell_cable(lab.link)
        Namespace(lab.switch).drop()
    for mount in reversed(power.mounts_below(folder)):
        unmount(Path(mount))
    there = folder.exists()
    _remove(folder)
    if folder.exists():
        raise HecdError(f"{folder} cannot be removed", hint=f"Who uses it? fuser -vm {folder}")
    return there


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While nobody else puts this lab up or takes it away. The lock is on the directory around it: the kernel ends it
    with its holder, and no file is left."""
    with _locked(folder.parent, fcntl.LOCK_EX | fcntl.LOCK_NB) as got:
        if not got:
            brief = f"another `hecd lab` puts this lab up, or takes it away ({folder})"
            raise AlreadyRunning(brief, hint="Wait until it has ended, then look: hecd lab status")
        yield


@contextlib.contextmanager
def _chooses_a_network() -> Iterator[None]:
    """While no other lab of this machine chooses one, until that one is wired up."""
    with _locked(Path("/proc/self/ns/net"), fcntl.LOCK_EX):
        yield


@contextlib.contextmanager
def _locked(path: Path, kind: int) -> Iterator[bool]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, kind)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def found(folder: Path) -> Lab:
    """The lab that is up there. Raises NotFound."""
    lab = _remains(folder)
    if lab is None:
        hint = "`hecd lab up` makes one. Was it put up with --root DIR? Then `hecd --root DIR lab …` speaks to it."
        raise NotFound(f"no lab is up in {folder}", hint=hint)
    if keeper.running_pid(folder) is None:
        raise HecdError("the lab's keeper was killed, and its programs with it", hint="hecd lab down; hecd lab up …")
    return lab


async def worlds_until(lab: Lab, good: Callable[[World], bool], within_s: float) -> World:
    """The first world that is good. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        async with open_store(lab.desk_settings.access) as store:
            return await _until(store, good)


async def _until(store: Store, good: Callable[[World], bool]) -> World:
    reader = Reader()
    while True:
        snapshot = store.snapshot()
        world = reader.read(snapshot)
        if good(world):
            return world
        await store.changed(snapshot.mark)


def complete(lab: Lab, world: World) -> bool:
    """Whether every host has joined, every load balancer serves, and somebody leads."""
    nodes = {NodeName(host.name) for host in lab.hosts}
    edges = {NodeName(host.name) for host in lab.hosts if "edge" in host.roles}
    serving = {name for name, edge in world.edges.items() if not edge.error and edge.applied_revision}
    return world.leader is not None and nodes <= set(world.nodes) and edges <= serving


def _build(lab: Lab) -> None:
    wires.lay_switch(lab)
    for host in lab.hosts:
        power.switch_on(lab, host)
    lab.desk.parent.mkdir()
    lab.desk.write_text(settings_text(lab.desk_settings))


def _start_keeper(lab: Lab) -> None:
    # what the user's shell says of HECD is meant for its commands, not for the hosts
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HECD_")}
    with (lab.folder / "keeper.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "registrator.lab.keeper", str(lab.folder)],
            env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + READY_WITHIN_S
    while keeper.running_pid(lab.folder) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise HecdError("the lab's keeper does not start", details=_last_words(lab))
        time.sleep(0.01)


async def _ready(lab: Lab, within_s: float) -> None:
    await worlds_until(lab, lambda world: complete(lab, world), within_s)


def _last_words(lab: Lab) -> tuple[str, ...]:
    """The last lines of every log."""
    lines = []
    for path in sorted(lab.folder.glob("**/*.log")):
        if path.parent in (lab.folder, *(lab.home(host) for host in lab.hosts)):
            lines += [f"{path.relative_to(lab.folder)}: {line}" for line in path.read_text().splitlines()[-3:]]
    return tuple(lines[-40:])


def _remains(folder: Path) -> Lab | None:
    try:
        return read((folder / "lab.json").read_text())
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def spoken_to(settings: Path) -> Path | None:
    """The folder of the lab whose desk has these settings, if they are a lab's."""
    lab = _remains(settings.parent.parent)
    return lab.folder if lab is not None and lab.desk == settings else None


def _remove(folder: Path) -> None:
    """All of it; last what says that it is a lab's, so that it can be done again."""
    for path in folder.iterdir() if folder.exists() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != "lab.json":
            path.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _refuse_others(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / "lab.json").exists():
        raise HecdError(f"{folder} is no lab's", hint="Name another folder with --root, or HECD_ROOT.")


def _check(folder: Path, edges: int) -> None:
    if os.geteuid() != 0:
        raise HecdError("a lab is made by root only: it makes networks and containers", hint="sudo hecd lab up …")
    if keeper.running_pid(folder) is not None:
        raise AlreadyRunning("a lab is up already", hint="`hecd lab status` shows it, `hecd lab down` takes it away.")
    _refuse_others(folder)
    for program, package in (NEEDED | (NEEDED_BY_VIP if edges > 1 else {})).items():
        if shutil.which(program) is None:
            raise MissingProgram(program, package)


def _kill(pid: int) -> None:
    """SIGKILL, and wait for its end."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:  # it has ended by now, and nobody or a thread has its number
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        select.select([fd], [], [], READY_WITHIN_S)
    finally:
        os.close(fd)


def _link(folder: Path) -> str:
    """The name of the card in the machine's own network."""
    return "hecdlab" if folder == FOLDER else f"hecdlab{hashlib.sha256(str(folder).encode()).hexdigest()[:6]}"
