"""A release: an image and the settings its containers start with. Immutable once written."""

from __future__ import annotations

from dataclasses import dataclass, field

from registrator.model.names import ReleaseNumber, ServiceName


@dataclass(frozen=True)
class Mount:
    """A bind mount or a tmpfs inside the container. `size_bytes` counts for tmpfs only (0: the kernel's default)."""

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


@dataclass(frozen=True)
class Release:
    """`/hecd/releases/<service>/<number>`."""

    service: ServiceName
    number: ReleaseNumber
    settings: Settings
    created_at: float = 0.0  # seconds since the epoch
    created_by: str = ""
