"""A container's description in the words of Docker's API. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from runtime.engines.bundle import hostname
from runtime.model import ContainerSpec, Mount
from runtime.networks.topology import SYSCTLS

ROOT_LABEL = "hecd.runtime.root"
SPEC_LABEL = "hecd.runtime.spec"  # the description itself: a container explains itself
IMAGE_LABEL = "hecd.runtime.image"
ADDRESS_LABEL = "hecd.runtime.address"
ADDRESS6_LABEL = "hecd.runtime.address6"


def faults(spec: ContainerSpec) -> tuple[str, ...]:
    """What Docker cannot do of what others can."""
    found = []
    if len(spec.name) < 2:
        found.append(f"{spec.name!r} is no name for Docker: two characters at least")
    if spec.restart.policy != "no":
        found.append(
            f"restart policy {spec.restart.policy!r}: Docker would run it again without its network; an agent, or "
            "whoever made it, has to start it"
        )
    return tuple(found)


@dataclass(frozen=True)
class Around:
    """What the root and the image give to a container."""

    root: str  # the root's id
    image: str  # what the engine calls it
    digest: str
    user: str  # the image's
    address: str
    files: Mapping[str, str]  # target → source: /etc/hosts and its like
    memory_files: Mapping[str, str]  # the same for secrets and configs
    ulimits: Mapping[str, int]  # those that are not asked for
    capabilities: tuple[str, ...]  # what the host can give of those that are asked for
    seccomp: str = ""  # a profile as this engine wants it named; "": its own default
    address6: str = ""


def container(spec: ContainerSpec, around: Around) -> dict[str, Any]:
    """The body of /containers/create."""
    return {
        "Image": around.image,
        **({} if spec.entrypoint is None else {"Entrypoint": list(spec.entrypoint)}),
        **({} if spec.command is None else {"Cmd": list(spec.command)}),
        "Env": [f"{key}={value}" for key, value in spec.environment.items()],
        "User": spec.user,
        "WorkingDir": spec.working_dir,
        "Hostname": hostname(spec),
        "Tty": spec.tty,
        "OpenStdin": spec.stdin_open,
        "StdinOnce": spec.stdin_open and not spec.tty,
        **({"StopSignal": spec.stop_signal} if spec.stop_signal else {}),
        "Labels": {
            **spec.labels,
            ROOT_LABEL: around.root,
            SPEC_LABEL: json.dumps(asdict(spec)),
            IMAGE_LABEL: around.digest,
            ADDRESS_LABEL: around.address,
            **({ADDRESS6_LABEL: around.address6} if around.address6 else {}),
        },
        "HostConfig": _host(spec, around),
    }


def _host(spec: ContainerSpec, around: Around) -> dict[str, Any]:
    limits = spec.limits
    return {
        "NetworkMode": "none",  # it gets our own cable
        **({"UsernsMode": spec.userns} if spec.userns else {}),
        "Sysctls": {**SYSCTLS, **spec.sysctls},
        "Init": spec.init,
        "ReadonlyRootfs": spec.read_only,
        "NanoCpus": int(limits.cpus * 1e9),
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_bytes,  # counted together: an equal limit means none
        **({"PidsLimit": limits.pids} if limits.pids else {}),
        "Mounts": _mounts(spec, around),
        "Tmpfs": _memory(spec),
        "GroupAdd": list(spec.group_add),
        "Devices": [
            {"PathOnHost": d.path, "PathInContainer": d.inside, "CgroupPermissions": d.access} for d in spec.devices
        ],
        "Ulimits": _ulimits(spec, around),
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": str(spec.log.max_size_bytes), "max-file": str(spec.log.max_files)},
        },
        **_power(spec, around),
    }


def _power(spec: ContainerSpec, around: Around) -> dict[str, Any]:
    """As everywhere none unless it is root's; what is asked for by name, Podman gives to anybody."""
    profile = [f"seccomp={around.seccomp}"] if around.seccomp else []
    if spec.privileged:
        return {"Privileged": True, "SecurityOpt": profile}
    is_root = (spec.user or around.user).partition(":")[0] in ("", "0", "root")
    given = around.capabilities if is_root or not spec.no_new_privileges else ()
    return {
        "CapDrop": ["ALL"],
        "CapAdd": [name.removeprefix("CAP_") for name in given],
        "SecurityOpt": [*(["no-new-privileges"] if spec.no_new_privileges else []), *profile],
    }


def _ulimits(spec: ContainerSpec, around: Around) -> list[dict[str, Any]]:
    found = {name: (limit, limit) for name, limit in around.ulimits.items()}
    found |= {limit.name: (limit.soft, limit.hard) for limit in spec.ulimits}
    return [{"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in found.items()]


def _mounts(spec: ContainerSpec, around: Around) -> list[dict[str, Any]]:
    taken = {m.target.rstrip("/") for m in spec.mounts}
    given = [_bind(target, source, spec.read_only) for target, source in around.files.items() if target not in taken]
    secret = [_bind(target, source, True) for target, source in around.memory_files.items()]
    own = [_bind(m.target, m.source, m.read_only) for m in spec.mounts if m.kind == "bind"]
    volumes = [
        {"Type": "volume", "Target": m.target, "Source": m.source, "ReadOnly": m.read_only}
        for m in spec.mounts
        if m.kind == "volume"
    ]
    return [*given, *own, *volumes, *secret]


def _memory(spec: ContainerSpec) -> dict[str, str]:
    taken = {m.target.rstrip("/") for m in spec.mounts}
    scratch = [Mount("tmpfs", target) for target in ("/run", "/tmp") if target not in taken]  # noqa: S108
    wanted = [m for m in spec.mounts if m.kind == "tmpfs"] + (scratch if spec.read_only else [])
    return {m.target: _memory_options(m) for m in wanted}


def _bind(target: str, source: str, read_only: bool) -> dict[str, Any]:
    # Read-only does not reach mounts below: those are left out of a read-only bind.
    options = {"Propagation": "rprivate", "NonRecursive": read_only}
    return {"Type": "bind", "Target": target, "Source": source, "ReadOnly": read_only, "BindOptions": options}


def _memory_options(mount: Mount) -> str:
    size = [f"size={mount.size_bytes}"] if mount.size_bytes else []
    return ",".join(["ro" if mount.read_only else "rw", "exec", "nosuid", "nodev", "mode=1777", *size])
