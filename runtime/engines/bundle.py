"""The OCI bundle of a container, worked out from its spec and its image: as little power as it can run with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtime.engines import power
from runtime.engines.user import User
from runtime.model import ContainerSpec, IdMap, ImageConfig, Limits, Mount, Ulimit

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT = "/dev/init"  # /dev is a fresh tmpfs: nothing is left in the container's own files
OPEN_FILES = 1048576
RLIM_INFINITY = (1 << 64) - 1
CPU_PERIOD_US = 100_000


@dataclass(frozen=True)
class Surroundings:
    """What the host gives to the container. Paths are the host's."""

    rootfs: str
    namespace: str
    cgroup: str  # "" for none: then nothing is limited, and nothing of its score for the want of memory is changed
    files: dict[str, str]  # target in the container → source: /etc/hosts and its like
    memory_files: dict[str, str]  # the same, of secrets and configuration files
    volumes: dict[str, str]  # directories of volumes by their targets
    init: str  # the init program, "" for none
    user: User
    open_files_limit: int  # our own hard limit: nobody may ask for more
    swap_limited: bool  # whether the kernel counts swap
    capabilities: tuple[str, ...]  # what the container may have at most
    devices: tuple[dict[str, Any], ...]  # of the host: those asked for, or all for a privileged container
    device_rules: Sequence[dict[str, Any]]  # who may do what with those asked for
    seccomp: dict[str, Any] | None
    userns: str = ""  # "": the host's own
    idmap: IdMap | None = None


def argv(spec: ContainerSpec, image: ImageConfig) -> tuple[str, ...]:
    """What runs. An entrypoint of one's own drops the image's command, as in Docker."""
    entrypoint = image.entrypoint if spec.entrypoint is None else spec.entrypoint
    default = image.command if spec.entrypoint is None else ()
    return (*entrypoint, *(default if spec.command is None else spec.command))


def config(spec: ContainerSpec, image: ImageConfig, around: Surroundings) -> dict[str, Any]:
    """config.json of the bundle."""
    return {
        "ociVersion": "1.0.2",
        "hostname": hostname(spec),
        "root": {"path": around.rootfs, "readonly": spec.read_only},
        "process": process(spec, image, around, _with_init(argv(spec, image), around.init)),
        "mounts": _mounts(spec, around),
        "annotations": {"hecd.name": spec.name},
        "linux": _linux(spec, around),
    }


def hostname(spec: ContainerSpec) -> str:
    return spec.hostname or spec.name


def process(spec: ContainerSpec, image: ImageConfig, around: Surroundings, args: tuple[str, ...]) -> dict[str, Any]:
    """A process in the container; `exec` uses it too, as plain `exec` would forget noNewPrivileges."""
    user = around.user
    return {
        "terminal": spec.tty,
        "user": ids(user),
        "args": list(args),
        "cwd": spec.working_dir or image.working_dir or "/",
        "env": [f"{key}={value}" for key, value in _environment(spec, image, user).items()],
        "noNewPrivileges": spec.no_new_privileges and not spec.privileged,
        "capabilities": power.sets(spec, user, around.capabilities),
        "rlimits": _rlimits(spec.ulimits, around.open_files_limit),
        **({"oomScoreAdj": 0} if around.cgroup else {}),
    }


def ids(user: User) -> dict[str, Any]:
    """The user of a process."""
    return {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)}


def _rlimits(ulimits: tuple[Ulimit, ...], open_files_limit: int) -> list[dict[str, Any]]:
    default = min(OPEN_FILES, open_files_limit)
    found = {"nofile": (default, default), **{u.name: (u.soft, u.hard) for u in ulimits}}
    return [
        {"type": f"RLIMIT_{name.upper()}", "soft": _rlimit(s), "hard": _rlimit(h)} for name, (s, h) in found.items()
    ]


def _rlimit(value: int) -> int:
    return RLIM_INFINITY if value == -1 else value


def _environment(spec: ContainerSpec, image: ImageConfig, user: User) -> dict[str, str]:
    terminal = {"TERM": "xterm"} if spec.tty else {}
    return {"PATH": PATH, **terminal, "HOSTNAME": hostname(spec), "HOME": user.home, **image.env, **spec.environment}


def _with_init(args: tuple[str, ...], init: str) -> tuple[str, ...]:
    return (INIT, "--", *args) if init else args


def _mounts(spec: ContainerSpec, around: Surroundings) -> list[dict[str, Any]]:
    sys_options = () if spec.privileged else ("ro",)
    fixed = [
        _mount("/proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=64k"),
        _mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        _mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=64m"),  # noqa: S108
        _mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _mount("/sys", "sysfs", "nosuid", "noexec", "nodev", *sys_options),
    ]
    groups = [_mount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", *sys_options)] if around.cgroup else []
    scratch = [_scratch(target) for target in ("/run", "/tmp")] if spec.read_only else []  # noqa: S108
    mine = ("idmap",) if around.idmap else ()
    files = [_bind(target, source, *mine, read_only=spec.read_only) for target, source in around.files.items()]
    init = [_bind(INIT, around.init, read_only=True)] if around.init else []
    own = [_own(m, around.volumes, mine) for m in spec.mounts]
    for target, source in around.memory_files.items():
        file = _bind(target, source, read_only=True)
        own.append({**file, "options": [*file["options"], "nosuid", "nodev"]})
    own.sort(key=lambda m: str(m["destination"]).rstrip("/").count("/"))  # a mount below another comes later
    taken = {str(m["destination"]).rstrip("/") for m in own}
    defaults = [m for m in [*scratch, *files] if m["destination"] not in taken]
    return [*fixed, *groups, *init, *defaults, *own]


def _own(mount: Mount, volumes: dict[str, str], mine: tuple[str, ...]) -> dict[str, Any]:
    if mount.kind == "bind":  # never `mine`: the container's root would write files of the host's, setuid ones too
        return _bind(mount.target, mount.source, read_only=mount.read_only)
    if mount.kind == "volume":
        return _bind(mount.target, volumes[mount.target], *mine, read_only=mount.read_only)
    size = (f"size={mount.size_bytes}",) if mount.size_bytes else ()
    read_only = ("ro",) if mount.read_only else ()
    return _mount(mount.target, "tmpfs", "nosuid", "nodev", "mode=1777", *size, *read_only)


def _scratch(target: str) -> dict[str, Any]:
    return _mount(target, "tmpfs", "nosuid", "nodev", "mode=1777")


def _bind(target: str, source: str, *more: str, read_only: bool) -> dict[str, Any]:
    # Read-only does not reach mounts below: those are left out of a read-only bind.
    options = ["bind", "ro"] if read_only else ["rbind", "rw"]
    return {"destination": target, "type": "bind", "source": source, "options": [*options, "rprivate", *more]}


def _mount(target: str, kind: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": kind, "options": list(options)}


def _linux(spec: ContainerSpec, around: Surroundings) -> dict[str, Any]:
    hidden = {} if spec.privileged else {"maskedPaths": list(power.MASKED), "readonlyPaths": list(power.READ_ONLY)}
    # Those of the network are set in the namespace itself, which is ours: engines refuse them there.
    sysctls = {key: value for key, value in spec.sysctls.items() if not key.startswith("net.")}
    namespaces: list[dict[str, str]] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "cgroup")]
    if around.userns:
        namespaces.append({"type": "user", "path": around.userns})
    return {
        "namespaces": [*namespaces, {"type": "network", "path": around.namespace}],
        **({} if around.idmap is None else _ids(around.idmap)),
        **(_group(spec, around) if around.cgroup else {}),
        **hidden,
        **({"sysctl": sysctls} if sysctls else {}),
        **({"devices": list(around.devices)} if around.devices else {}),
        "rootfsPropagation": "private",
        **({"seccomp": around.seccomp} if around.seccomp else {}),
    }


def _group(spec: ContainerSpec, around: Surroundings) -> dict[str, Any]:
    devices = power.devices(spec, around.device_rules)
    limits = _resources(spec.limits, swap_limited=around.swap_limited)
    return {"cgroupsPath": around.cgroup, "resources": {"devices": devices, **limits}}


def _ids(idmap: IdMap) -> dict[str, Any]:
    return {
        f"{kind}Mappings": [{"containerID": r.inside, "hostID": r.outside, "size": r.size} for r in ranges]
        for kind, ranges in (("uid", idmap.uids), ("gid", idmap.gids))
    }


def _resources(limits: Limits, *, swap_limited: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if limits.pids:
        found["pids"] = {"limit": limits.pids}
    if limits.memory_bytes:
        # Swap is counted together with memory: an equal limit means none.
        swap = {"swap": limits.memory_bytes} if swap_limited else {}
        found["memory"] = {"limit": limits.memory_bytes, **swap}
    if limits.cpus:
        found["cpu"] = {"period": CPU_PERIOD_US, "quota": int(limits.cpus * CPU_PERIOD_US)}
    return found
