"""A release: an image and the settings its containers start with. Immutable once written."""

from __future__ import annotations

from dataclasses import dataclass, field

from registrator.model.hook import Hooks
from registrator.model.names import ReleaseNumber, ServiceName


@dataclass(frozen=True)
class Mount:
    """What is mounted inside the container: a path of the node, memory, or a volume of the node, whose name `source`
    is. `size_bytes` counts for tmpfs only (0: the kernel's default)."""

    kind: str  # "bind" | "tmpfs" | "volume"
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
class Healthcheck:
    """How an agent decides that an instance is healthy.

    kind: "http" (GET `path`, 2xx/3xx is good), "tcp" (connect) or "exec" (`test` run inside, 0 is good).
    `start_period_s` is the time in which failures do not count; `start_interval_s` the pace in it.
    """

    kind: str = "tcp"  # "http" | "tcp" | "exec" | "none"
    path: str = "/"
    test: tuple[str, ...] = ()
    port: int = 0  # 0: the first target port
    interval_s: float = 1.0
    timeout_s: float = 1.0
    retries: int = 3
    start_period_s: float = 10.0
    start_interval_s: float = 0.02


@dataclass(frozen=True)
class Ulimit:
    """A limit of setrlimit(2), without RLIMIT_; -1 is none."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True)
class MemoryFile:
    """A secret or a config, read-only and in memory: the node's file `source` as it is at each start, or `content`."""

    target: str
    source: str = ""
    content: str | None = None
    mode: int = 0o444
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Device:
    """A device of the node that an instance may use; `access` is of r (read), w (write) and m (make its node)."""

    path: str
    target: str = ""  # "": the same
    access: str = "rwm"


@dataclass(frozen=True)
class LogLimits:
    """When the log begins a new file, and how many are kept, the current one among them."""

    max_size_bytes: int = 64 << 20
    max_files: int = 1


@dataclass(frozen=True)
class Wishes:
    """What an instance asks of the kernel and of its surroundings, besides the usual."""

    ulimits: tuple[Ulimit, ...] = ()
    sysctls: dict[str, str] = field(default_factory=dict)
    group_add: tuple[str, ...] = ()
    extra_hosts: dict[str, str] = field(default_factory=dict)  # name -> address, or "host-gateway"
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    files: tuple[MemoryFile, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    no_new_privileges: bool = True
    seccomp: str = ""  # "": the node's default profile; "unconfined", or a file of the node
    userns: str = ""  # "host": ids are not remapped, where the node allows it
    tty: bool = False
    stdin_open: bool = False
    log: LogLimits = field(default_factory=LogLimits)


@dataclass(frozen=True)
class Settings:
    """All that makes one container like the next one of its release."""

    image: str  # as the user wrote it
    digest: str = ""  # sha256:… of the manifest, resolved when the release was made
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    user: str = ""
    working_dir: str = ""
    read_only: bool = False
    mounts: tuple[Mount, ...] = ()
    limits: Limits = field(default_factory=Limits)
    stop_signal: str = ""  # "": the image's, else SIGTERM
    stop_grace_s: float = 10.0
    labels: dict[str, str] = field(default_factory=dict)
    healthcheck: Healthcheck = field(default_factory=Healthcheck)
    target_ports: tuple[int, ...] = ()
    wishes: Wishes = field(default_factory=Wishes)


@dataclass(frozen=True)
class Release:
    """`/hecd/releases/<service>/<number>`."""

    service: ServiceName
    number: ReleaseNumber
    settings: Settings
    created_at: float = 0.0  # seconds since the epoch
    created_by: str = ""
    hooks: Hooks = field(default_factory=Hooks)
