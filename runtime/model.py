"""The nouns: a container and what it is made of, an image and what it says."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class State(StrEnum):
    """Where a container stands. `lost`: it ended, and nobody saw how (a reboot, or its shim was killed)."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    LOST = "lost"


@dataclass(frozen=True)
class Mount:
    """What lies at `target`: a path of the host, a file system in memory, or a named volume.

    `size_bytes` counts for tmpfs only (0: the kernel's default). A volume is made where there is none; one that is
    empty gets what the image has at `target`. One without a name is the container's own, and goes with it.
    """

    kind: str  # "bind" | "tmpfs" | "volume"
    target: str
    source: str = ""  # a path of the host, or a volume's name, "" for one of its own
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
    """Port `published` of this host (of `address` only, "": of every address, IPv4 and IPv6) leads to `target` in the
    container."""

    published: int
    target: int
    protocol: str = "tcp"  # "tcp" | "udp"
    address: str = ""


@dataclass(frozen=True)
class MemoryFile:
    """A secret or a configuration file: read-only, in memory. It is read anew at each start from the host's file
    `source`, and then is on no disk of ours; or it is `content`, which stands in the container's record."""

    target: str
    source: str = ""
    content: str | None = None
    mode: int = 0o444
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Ulimit:
    """A resource limit as setrlimit(2) has it, by its name without RLIMIT_; -1 is none."""

    name: str  # "nofile"
    soft: int
    hard: int


@dataclass(frozen=True)
class Device:
    """A device of the host that a container may use; `access` is of r (read), w (write) and m (make its node)."""

    path: str  # "/dev/fuse"
    target: str = ""  # "": the same
    access: str = "rwm"

    @property
    def inside(self) -> str:
        """Where the container has it."""
        return self.target or self.path


@dataclass(frozen=True)
class IdRange:
    """`size` ids from `inside` on in the container are those from `outside` on of the host."""

    inside: int
    outside: int
    size: int


@dataclass(frozen=True)
class IdMap:
    """Who the users and groups of a container are on the host."""

    uids: tuple[IdRange, ...]
    gids: tuple[IdRange, ...]

    def outside(self, uid: int, gid: int) -> tuple[int, int]:
        """A user and a group of the container as the host has them. Raises ValueError for those it has not."""
        return _outside("user", uid, self.uids), _outside("group", gid, self.gids)


def _outside(what: str, number: int, ranges: tuple[IdRange, ...]) -> int:
    found = next((r for r in ranges if r.inside <= number < r.inside + r.size), None)
    if found is None:
        raise ValueError(f"{what} {number} is beyond the {sum(r.size for r in ranges)} that are remapped")
    return found.outside + number - found.inside


@dataclass(frozen=True)
class Restart:
    """Whether a container that ended is run again, and how often after failures (0: always again)."""

    policy: str = "no"  # "no" | "on-failure" | "always" | "unless-stopped"
    most: int = 0  # for on-failure


@dataclass(frozen=True)
class LogLimits:
    """When a log begins a new file, and how many are kept, the current one among them. With one file, what stood in
    it is lost then."""

    max_size_bytes: int = 64 << 20
    max_files: int = 1


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
    restart: Restart = field(default_factory=Restart)
    ulimits: tuple[Ulimit, ...] = ()
    sysctls: dict[str, str] = field(default_factory=dict)  # of the container's own network, IPC and message queues
    group_add: tuple[str, ...] = ()  # names or numbers
    extra_hosts: dict[str, str] = field(default_factory=dict)  # name -> address, or "host-gateway"
    dns: tuple[str, ...] = ()  # (): the host's, or the root's own name server
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    files: tuple[MemoryFile, ...] = ()  # secrets and configs
    cap_add: tuple[str, ...] = ()  # "NET_ADMIN", "CAP_NET_ADMIN" or "ALL"
    cap_drop: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()  # these, too, only where the host's settings allow them
    privileged: bool = False  # only where the host's settings allow it
    userns: str = ""  # "host": its ids are the host's, though others' are remapped; where the host's settings allow it
    no_new_privileges: bool = True
    seccomp: str = ""  # "": the host's default profile; "unconfined", or a file of the host: see the host's settings
    tty: bool = False
    stdin_open: bool = False
    log: LogLimits = field(default_factory=LogLimits)


@dataclass(frozen=True)
class Manner:
    """How a command is run inside a container, where not as the container's own."""

    user: str = ""  # user[:group], names or numbers
    environment: dict[str, str] = field(default_factory=dict)  # besides the container's
    working_dir: str = ""


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
    restarts: int = 0  # how often it was run again by itself since somebody started it
    idmap: IdMap | None = None  # None: its users are those of the host
    address6: str = ""  # "": it has IPv4 only


@dataclass(frozen=True)
class Usage:
    """What a container has used since it was started, and uses now. Memory is without file cache that nobody needs;
    a limit of 0 is none."""

    cpu_s: float
    memory_bytes: int
    memory_limit_bytes: int
    pids: int
    read_bytes: int
    written_bytes: int
    received_bytes: int = 0
    sent_bytes: int = 0


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
    volumes: tuple[str, ...] = ()  # where a container gets a volume of its own, if nothing else is mounted there


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
class Volume:
    """A named volume: `path` is its directory on the host, `containers` those that mount it."""

    name: str
    labels: dict[str, str]
    created_at: float
    path: str
    containers: tuple[str, ...] = ()


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
