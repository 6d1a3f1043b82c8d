"""What may stand in a container's description; every mistake is told at once."""

from __future__ import annotations

import ipaddress
import re

from runtime.errors import InvalidSpec
from runtime.model import ContainerSpec, Device, Limits, LogLimits, MemoryFile, Mount, PublishedPort, Restart, Ulimit

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")
NAME_WORDS = "letters, digits, '_', '.', '-', at most 63, a letter or digit first"
HOSTNAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?")
SIGNAL = re.compile(r"(SIG)?[A-Z][A-Z0-9+-]{1,10}|[0-9]{1,2}")
CAPABILITY = re.compile(r"ALL|(CAP_)?[A-Z][A-Z0-9_]{2,30}")
DEVICE = re.compile(r"/dev/[a-zA-Z0-9][a-zA-Z0-9_.:/+-]{0,250}")
GROUP = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,63}")
RESOLV_WORD = re.compile(r"[a-zA-Z0-9_.:-]{1,253}")
SYSCTL = re.compile(r"(net\.[a-z0-9_]|fs\.mqueue\.|kernel\.(msg|shm))[a-zA-Z0-9_./-]*|kernel\.sem")
LEAST_MEMORY_BYTES = 4 << 20
LEAST_LOG_BYTES = 4096
RESTARTS = ("no", "on-failure", "always", "unless-stopped")
ULIMITS = (
    *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack"),
)


def checked(spec: ContainerSpec) -> ContainerSpec:
    """The same spec. Raises InvalidSpec with every mistake at once."""
    faults = (
        *_name_faults(spec),
        *_text_faults(spec),
        *_limit_faults(spec.limits),
        *_restart_faults(spec.restart),
        *_log_faults(spec.log),
        *_kernel_faults(spec),
        *_resolver_faults(spec),
        *(f for m in spec.mounts for f in _mount_faults(m)),
        *(f for d in spec.devices for f in _device_faults(d)),
        *(f for p in spec.ports for f in _port_faults(p)),
        *(f for u in spec.ulimits for f in _ulimit_faults(u)),
        *(f for file in spec.files for f in _file_faults(file)),
    )
    if faults:
        raise InvalidSpec(spec.name, faults)
    return spec


def _name_faults(spec: ContainerSpec) -> list[str]:
    faults = []
    if not NAME.fullmatch(spec.name):
        faults.append(f"{spec.name!r} is no container name: {NAME_WORDS}")
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
    if spec.userns not in ("", "host"):
        faults.append(f"userns {spec.userns!r} is not known; host is")
    if spec.seccomp not in ("", "unconfined") and not (spec.seccomp.startswith("/") and spec.seccomp.isprintable()):
        faults.append(f"seccomp {spec.seccomp[:60]!r} is neither an absolute path nor unconfined")
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
    if mount.kind not in ("bind", "tmpfs", "volume"):
        faults.append(f"{mount.kind!r} is no kind of mount: bind, tmpfs, volume")
    faults += _target_faults("mount", mount.target)
    if mount.kind == "bind" and not mount.source.startswith("/"):
        faults.append(f"the source {mount.source!r} of {mount.target} is not absolute")
    if mount.kind == "volume" and mount.source and not NAME.fullmatch(mount.source):
        faults.append(f"{mount.source!r}, at {mount.target}, is no name of a volume: {NAME_WORDS}")
    if mount.size_bytes < 0:
        faults.append(f"size_bytes of {mount.target} is below 0")
    return faults


def _device_faults(device: Device) -> list[str]:
    faults = [
        f"{path!r} is no device: write a path below /dev, as /dev/fuse"
        for path in {device.path, device.inside}
        if not DEVICE.fullmatch(path) or ".." in path.split("/")
    ]
    if not device.access or not set(device.access) <= set("rwm"):
        faults.append(f"access {device.access!r} to {device.path}: r, w and m are known")
    return faults


def _port_faults(port: PublishedPort) -> list[str]:
    faults = [f"{n} is no port: 1-65535" for n in (port.published, port.target) if not 1 <= n <= 65535]
    if port.protocol not in ("tcp", "udp"):
        faults.append(f"{port.protocol!r} is no protocol: tcp, udp")
    if port.address and not _is_address(port.address):
        faults.append(f"{port.address!r} is no address")
    elif port.address and ipaddress.ip_address(port.address) == ipaddress.IPv6Address("::1"):
        faults.append(
            f"port {port.published} cannot lead in from ::1 alone: publish it at every address, or at 127.0.0.1"
        )
    return faults


def _target_faults(what: str, target: str) -> list[str]:
    faults = []
    if not target.startswith("/") or target.strip("/") in ("", "proc", "sys", "dev"):
        faults.append(f"{target!r} cannot be a {what}'s target: it must be absolute, and not /, /proc, /sys or /dev")
    if ".." in target.split("/"):
        faults.append(f"'..' stands in the {what} target {target!r}")
    if "\0" in target:
        faults.append(f"a NUL stands in the {what} target")
    return faults


def _file_faults(file: MemoryFile) -> list[str]:
    faults = _target_faults("file", file.target)
    if (file.content is None) == (not file.source):
        faults.append(f"the file {file.target} needs a source or a content, and not both")
    if file.source and not file.source.startswith("/"):
        faults.append(f"the source {file.source!r} of {file.target} is not absolute")
    if not 0 <= file.mode <= 0o777:
        faults.append(f"the mode {file.mode:o} of {file.target} is not within 0 and 777")
    if not (0 <= file.uid < 1 << 32 and 0 <= file.gid < 1 << 32):
        faults.append(f"{file.uid}:{file.gid}, of {file.target}, are no numbers of a user and a group")
    return faults


def _restart_faults(restart: Restart) -> list[str]:
    faults = []
    if restart.policy not in RESTARTS:
        faults.append(f"{restart.policy!r} is no restart policy: {', '.join(RESTARTS)}")
    if restart.most < 0 or (restart.most and restart.policy != "on-failure"):
        faults.append(f"restart {restart.policy}:{restart.most}: only on-failure takes a number, 1 or more")
    return faults


def _log_faults(log: LogLimits) -> list[str]:
    faults = []
    if log.max_size_bytes < LEAST_LOG_BYTES:
        faults.append(f"a log's max-size of {log.max_size_bytes} bytes is below 4 KiB")
    if not 1 <= log.max_files <= 1000:
        faults.append(f"a log's max-file of {log.max_files} is not from 1 to 1000")
    return faults


def _ulimit_faults(limit: Ulimit) -> list[str]:
    faults = []
    if limit.name not in ULIMITS:
        faults.append(f"{limit.name!r} is no ulimit: {', '.join(ULIMITS)}")
    soft, hard = (float("inf") if n == -1 else n for n in (limit.soft, limit.hard))
    if soft < 0 or hard < 0:
        faults.append(f"ulimit {limit.name}: {limit.soft}:{limit.hard} is below 0; -1 is no limit")
    elif soft > hard:
        faults.append(f"ulimit {limit.name}: the soft limit {limit.soft} is above the hard one, {limit.hard}")
    return faults


def _kernel_faults(spec: ContainerSpec) -> list[str]:
    faults = [
        f"{cap!r} is no capability, as NET_ADMIN is"
        for cap in (*spec.cap_add, *spec.cap_drop)
        if not CAPABILITY.fullmatch(cap)
    ]
    for key, value in spec.sysctls.items():
        if not SYSCTL.fullmatch(key) or ".." in key:
            faults.append(f"sysctl {key!r} is not the container's own: net.*, fs.mqueue.*, kernel.msg*, .sem, .shm*")
        if not value or not value.isprintable():
            faults.append(f"sysctl {key} has no value")
    for group in spec.group_add:
        if not GROUP.fullmatch(group):
            faults.append(f"{group!r} is no group: a name or a number")
    return faults


def _resolver_faults(spec: ContainerSpec) -> list[str]:
    faults = []
    for name, address in spec.extra_hosts.items():
        if not HOSTNAME.fullmatch(name):
            faults.append(f"{name!r} is no host name")
        if address != "host-gateway" and not _is_address(address):
            faults.append(f"{address!r}, of {name}, is no address: write one, or host-gateway")
    faults += [f"{server!r} is no address of a name server" for server in spec.dns if not _is_address(server)]
    words = (*spec.dns_search, *spec.dns_options)
    faults += [f"{word!r} cannot stand in resolv.conf" for word in words if not RESOLV_WORD.fullmatch(word)]
    return faults


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
