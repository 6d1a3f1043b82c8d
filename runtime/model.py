"""The nouns: a container and what it is made of, an image and what it says."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from runtime.errors import InvalidSpec

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")
HOSTNAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?")
SIGNAL = re.compile(r"(SIG)?[A-Z][A-Z0-9+-]{1,10}|[0-9]{1,2}")
LEAST_MEMORY_BYTES = 4 << 20


class State(StrEnum):
    """Where a container stands. `lost`: it ended, and nobody saw how (a reboot, or its shim was killed)."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    LOST = "lost"


@dataclass(frozen=True)
class Mount:
    """A bind mount or a tmpfs at `target`. `size_bytes` counts for tmpfs only (0: the kernel's default)."""

    kind: str  # "bind" | "tmpfs"
    target: str
    source: str = ""
    read_only: bool = False
    size_bytes: int = 0


@dataclass(frozen=True)
class Limits:
    """What one container may use; 0 is no limit."""

    cpus: float = 0.0
    memory_bytes: int = 0
    pids: int = 0


@dataclass(frozen=True)
class PublishedPort:
    """Port `published` of this host (of `address` only, "": of every address) leads to `target` in the container."""

    published: int
    target: int
    protocol: str = "tcp"  # "tcp" | "udp"
    address: str = ""


@dataclass(frozen=True)
class ContainerSpec:
    """All that makes a container. None and "" mean: what the image says."""

    name: str
    image: str
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    user: str = ""  # user[:group], names or numbers
    working_dir: str = ""
    read_only: bool = False
    mounts: tuple[Mount, ...] = ()
    limits: Limits = field(default_factory=Limits)
    stop_signal: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    hostname: str = ""  # "": the name
    ports: tuple[PublishedPort, ...] = ()
    init: bool = True  # a small init is process 1: it reaps, and passes signals on


@dataclass(frozen=True)
class Container:
    """A container as disk and kernel show it now. Times are seconds since the epoch."""

    name: str
    spec: ContainerSpec
    state: State
    pid: int | None
    exit_code: int | None
    signal: str | None  # the signal that ended it, by its name
    oom_killed: bool
    address: str
    image_digest: str
    created_at: float
    started_at: float | None
    finished_at: float | None
    log_path: str


@dataclass(frozen=True)
class ImageConfig:
    """What an image says about the containers made from it."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    user: str = ""
    working_dir: str = ""
    exposed_ports: tuple[str, ...] = ()  # "80/tcp"
    stop_signal: str = ""
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Image:
    """An image of this platform; `digest` is that of its manifest."""

    ref: str
    digest: str
    config: ImageConfig


@dataclass(frozen=True)
class ImageDetails:
    """All that is known of an image. Layers by their stored and unpacked digests, the lowest first; `size_bytes` as
    stored; `used_at` is when it was brought, or last used by a container (Unix time); `containers` are of it now."""

    digest: str
    names: tuple[str, ...]
    config: ImageConfig
    architecture: str
    created: str
    layers: tuple[str, ...]
    diff_ids: tuple[str, ...]
    size_bytes: int
    used_at: float
    containers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fetching:
    """How far a pull is: compressed bytes that are here, of all that the image has."""

    ref: str
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class LogLine:
    """One line a container wrote; `stream` is "stdout" or "stderr"."""

    timestamp: datetime
    stream: str
    text: str


@dataclass(frozen=True)
class Swept:
    """What a garbage collection took away."""

    images: tuple[str, ...] = ()  # digests
    layers: int = 0
    blobs: int = 0
    freed_bytes: int = 0


def checked(spec: ContainerSpec) -> ContainerSpec:
    """The same spec. Raises InvalidSpec with every mistake at once."""
    faults = (
        *_name_faults(spec),
        *_text_faults(spec),
        *_limit_faults(spec.limits),
        *(f for m in spec.mounts for f in _mount_faults(m)),
        *(f for p in spec.ports for f in _port_faults(p)),
    )
    if faults:
        raise InvalidSpec(spec.name, faults)
    return spec


def _name_faults(spec: ContainerSpec) -> list[str]:
    faults = []
    if not NAME.fullmatch(spec.name):
        faults.append(
            f"{spec.name!r} is no container name: letters, digits, '_', '.', '-', at most 63, a letter or digit first"
        )
    if spec.hostname and not HOSTNAME.fullmatch(spec.hostname):
        faults.append(f"{spec.hostname!r} is no host name")
    if spec.stop_signal and not SIGNAL.fullmatch(spec.stop_signal):
        faults.append(f"{spec.stop_signal!r} is no signal, as SIGTERM is")
    return faults


def _text_faults(spec: ContainerSpec) -> list[str]:
    faults = [f"{key!r} is no name of an environment variable" for key in spec.environment if not key or "=" in key]
    texts = [*spec.environment.keys(), *spec.environment.values(), *(spec.entrypoint or ()), *(spec.command or ())]
    if any("\0" in text for text in texts):
        faults.append("a NUL stands in the command or the environment")
    if spec.working_dir and not spec.working_dir.startswith("/"):
        faults.append(f"working_dir {spec.working_dir!r} is not absolute")
    return faults


def _limit_faults(limits: Limits) -> list[str]:
    faults = []
    if limits.cpus < 0 or limits.memory_bytes < 0 or limits.pids < 0:
        faults.append("a limit is below 0")
    if 0 < limits.cpus < 0.01:
        faults.append(f"cpus {limits.cpus} is below 0.01")
    if 0 < limits.memory_bytes < LEAST_MEMORY_BYTES:
        faults.append(f"memory_bytes {limits.memory_bytes} is below 4 MiB")
    return faults


def _mount_faults(mount: Mount) -> list[str]:
    faults = []
    if mount.kind not in ("bind", "tmpfs"):
        faults.append(f"{mount.kind!r} is no kind of mount: bind, tmpfs")
    if not mount.target.startswith("/") or mount.target.strip("/") in ("", "proc", "sys", "dev"):
        faults.append(
            f"{mount.target!r} cannot be a mount's target: it must be absolute, and not /, /proc, /sys or /dev"
        )
    if ".." in mount.target.split("/"):
        faults.append(f"'..' stands in the mount target {mount.target!r}")
    if mount.kind == "bind" and not mount.source.startswith("/"):
        faults.append(f"the source {mount.source!r} of {mount.target} is not absolute")
    if mount.size_bytes < 0:
        faults.append(f"size_bytes of {mount.target} is below 0")
    return faults


def _port_faults(port: PublishedPort) -> list[str]:
    faults = [f"{n} is no port: 1-65535" for n in (port.published, port.target) if not 1 <= n <= 65535]
    if port.protocol not in ("tcp", "udp"):
        faults.append(f"{port.protocol!r} is no protocol: tcp, udp")
    if port.address and not _is_ipv4(port.address):
        faults.append(f"{port.address!r} is no IPv4 address")
    return faults


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
