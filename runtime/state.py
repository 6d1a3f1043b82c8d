"""What is known of containers, on disk: written whole or not at all, read by any process at any time."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from runtime.errors import ContainerNotFound
from runtime.model import (
    ContainerSpec,
    Device,
    IdMap,
    IdRange,
    Limits,
    LogLimits,
    MemoryFile,
    Mount,
    PublishedPort,
    Restart,
    Ulimit,
)
from runtime.paths import HostPaths
from runtime.process import Process, boot_id
from runtime.restarts import History

FORMAT = 1


@dataclass(frozen=True)
class Record:
    """A container as it was created. `layers` are directory names, the topmost first."""

    spec: ContainerSpec
    image_digest: str
    layers: tuple[str, ...]
    address: str
    created_at: float
    idmap: IdMap | None = None  # it keeps it, whatever the host's settings say later
    address6: str = ""


@dataclass(frozen=True)
class Start:
    """The last start of a container: its first process, and the shim above it."""

    process: Process
    shim: Process
    started_at: float
    boot: str


class Records:
    """Records and starts of all containers of one host root."""

    def __init__(self, paths: HostPaths) -> None:
        self._paths = paths

    def names(self) -> list[str]:
        """The containers there are, in the order of their names."""
        return sorted(e.name for e in os.scandir(self._paths.containers) if self._paths.record(e.name).exists())

    def all(self) -> list[Record]:
        """The records of all containers; one that is removed meanwhile is left out."""
        found = []
        for name in self.names():
            with suppress(ContainerNotFound):
                found.append(self.read(name))
        return found

    def mounting(self, volume: str) -> list[str]:
        """The containers that mount this volume, those too that are being made or removed."""
        found = []
        for name in sorted(entry.name for entry in os.scandir(self._paths.containers)):
            record = _read(self._paths.record(name)) or self.read_half(name)
            if record and any(m.kind == "volume" and m.source == volume for m in record.spec.mounts):
                found.append(name)
        return found

    def exists(self, name: str) -> bool:
        return self._paths.record(name).exists()

    def readable(self, name: str) -> bool:
        """Whether it exists, and no power cut damaged its record."""
        return _read(self._paths.record(name)) is not None

    def read(self, name: str) -> Record:
        """Raises ContainerNotFound, also where a power cut damaged the record."""
        found = _read(self._paths.record(name))
        if found is None:
            raise ContainerNotFound(name)
        return found

    def read_half(self, name: str) -> Record | None:
        """What a half-made or half-removed container was to be; None if nobody noted it."""
        return _read(self._paths.half_record(name))

    def begin(self, record: Record) -> None:
        """Note what is going to be made, so that a sweep after a crash knows what to undo."""
        data = json.dumps({"format": FORMAT, **asdict(record)}).encode()
        write_whole(self._paths.half_record(record.spec.name), data)

    def commit(self, name: str) -> None:
        """From here on the container exists."""
        self._paths.half_record(name).rename(self._paths.record(name))

    def retract(self, name: str) -> None:
        """From here on it does not; fine if it never did."""
        if self.exists(name):
            self._paths.record(name).rename(self._paths.half_record(name))

    def read_start(self, name: str) -> Start | None:
        """The last start; None if there was none in this boot."""
        try:
            found = json.loads((self._paths.bundle(name) / "start.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        start = Start(Process(**found["process"]), Process(**found["shim"]), found["started_at"], found["boot"])
        return start if start.boot == boot_id() else None

    def was_started(self, name: str) -> bool:
        """Whether it was started ever, also before a reboot that emptied `run`."""
        return (self._paths.container(name) / "started").exists()

    def write_start(self, name: str, start: Start) -> None:
        (self._paths.container(name) / "started").touch()
        write_whole(self._paths.bundle(name) / "start.json", json.dumps(asdict(start)).encode())

    def mark_stopped(self, name: str) -> None:
        """Note that somebody wanted it to end."""
        write_whole(self._paths.container(name) / "stopped", boot_id().encode())

    def was_stopped(self, name: str, *, ever: bool) -> bool:
        """Whether somebody wanted it to end since it was started; with `ever` also before a reboot."""
        try:
            boot = (self._paths.container(name) / "stopped").read_text()
        except FileNotFoundError:
            return False
        return ever or boot == boot_id()

    def restarts(self, name: str) -> History:
        """How often it was run again since somebody started it."""
        try:
            return History(**json.loads((self._paths.bundle(name) / "restarts.json").read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return History()

    def write_restarts(self, name: str, history: History) -> None:
        write_whole(self._paths.bundle(name) / "restarts.json", json.dumps(asdict(history)).encode())

    def forget_ends(self, name: str) -> None:
        """Somebody starts it: neither stops nor restarts count any more."""
        (self._paths.container(name) / "stopped").unlink(missing_ok=True)
        (self._paths.bundle(name) / "restarts.json").unlink(missing_ok=True)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Nobody else, of any thread or process, changes this container meanwhile."""
        with held(self._paths.container_locks / name, spent=self._gone(name)):
            yield

    @contextmanager
    def locked_at_once(self, name: str) -> Iterator[bool]:
        """The same without waiting: False where somebody else is at it."""
        with ExitStack() as stack:
            try:
                stack.enter_context(held(self._paths.container_locks / name, wait=False, spent=self._gone(name)))
                free = True
            except BlockingIOError:
                free = False
            yield free

    def _gone(self, name: str) -> Callable[[], bool]:
        return lambda: not self._paths.container(name).exists()


def _always() -> bool:
    return True


@contextmanager
def held(path: Path, *, shared: bool = False, wait: bool = True, spent: Callable[[], bool] = _always) -> Iterator[None]:
    """Hold a lock file; an exclusive holder deletes it if it is `spent`: what is wanted again soon costs a disk less
    when it stays. Raises BlockingIOError where it may not wait."""
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    fd = _lock(path, kind)
    try:
        yield
    finally:
        if not shared and spent():
            path.unlink(missing_ok=True)
        os.close(fd)


def taken(path: Path, *, wait: bool = False) -> IO[bytes] | None:
    """The lock file, locked until it is closed here and in every process that inherited it; None where somebody else
    has it, and it may not wait."""
    try:
        return os.fdopen(_lock(path, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)), "rb")
    except BlockingIOError:
        return None


def _lock(path: Path, kind: int) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, kind)
            if os.fstat(fd).st_nlink:  # else the holder before us deleted it, and another may hold a new one
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file: a reader sees the old or the new content, also after a crash half-way."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with open(draft, "xb", opener=_secretly) as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _secretly(path: str, flags: int) -> int:
    """It may be a secret from its first byte on."""
    return os.open(path, flags, 0o600)


def _read(path: Path) -> Record | None:
    """None where there is no record that can be read."""
    try:
        return _record(json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def spec_of(spec: dict[str, Any]) -> ContainerSpec:
    """A description that was written as JSON."""
    spec["mounts"] = tuple(Mount(**m) for m in spec["mounts"])
    spec["ports"] = tuple(PublishedPort(**p) for p in spec["ports"])
    spec["limits"] = Limits(**spec["limits"])
    for key in ("entrypoint", "command"):
        spec[key] = None if spec[key] is None else tuple(spec[key])
    # What follows is not in the records of older versions.
    spec["restart"] = Restart(**spec.get("restart", {}))
    spec["log"] = LogLimits(**spec.get("log", {}))
    spec["ulimits"] = tuple(Ulimit(**u) for u in spec.get("ulimits", ()))
    spec["files"] = tuple(MemoryFile(**f) for f in spec.get("files", ()))
    spec["devices"] = tuple(Device(**d) for d in spec.get("devices", ()))
    for key in ("group_add", "dns", "dns_search", "dns_options", "cap_add", "cap_drop"):
        spec[key] = tuple(spec.get(key, ()))
    return ContainerSpec(**spec)


def _record(found: dict[str, Any]) -> Record:
    spec = spec_of(found["spec"])
    ids = found.get("idmap")
    idmap = IdMap(*(tuple(IdRange(**r) for r in ids[kind]) for kind in ("uids", "gids"))) if ids else None
    layers, address6 = tuple(found["layers"]), found.get("address6", "")
    return Record(spec, found["image_digest"], layers, found["address"], found["created_at"], idmap, address6)
