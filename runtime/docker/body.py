"""A container's description in the words of Docker's API. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from runtime.engines.bundle import CAPABILITIES, hostname
from runtime.model import ContainerSpec, Mount
from runtime.networks.topology import SYSCTLS

ROOT_LABEL = "hecd.runtime.root"
SPEC_LABEL = "hecd.runtime.spec"  # the description itself: a container explains itself
IMAGE_LABEL = "hecd.runtime.image"
ADDRESS_LABEL = "hecd.runtime.address"
LOG = {"Type": "json-file", "Config": {"max-size": "64m", "max-file": "1"}}


def faults(spec: ContainerSpec) -> tuple[str, ...]:
    """What Docker cannot do of what others can."""
    return () if len(spec.name) > 1 else (f"{spec.name!r} is no name for Docker: two characters at least",)


@dataclass(frozen=True)
class Around:
    """What the root and the image give to a container."""

    root: str  # the root's id
    image: str  # what the engine calls it
    digest: str
    user: str  # the image's
    address: str
    files: Mapping[str, str]  # target → source: /etc/hosts and its like
    ulimits: Mapping[str, int]


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
        **({"StopSignal": spec.stop_signal} if spec.stop_signal else {}),
        "Labels": {
            **spec.labels,
            ROOT_LABEL: around.root,
            SPEC_LABEL: json.dumps(asdict(spec)),
            IMAGE_LABEL: around.digest,
            ADDRESS_LABEL: around.address,
        },
        "HostConfig": _host(spec, around),
    }


def _host(spec: ContainerSpec, around: Around) -> dict[str, Any]:
    limits = spec.limits
    taken = {m.target.rstrip("/") for m in spec.mounts}
    given = [_bind(target, source, spec.read_only) for target, source in around.files.items() if target not in taken]
    scratch = [Mount("tmpfs", target) for target in ("/run", "/tmp") if target not in taken]  # noqa: S108
    memory = [m for m in spec.mounts if m.kind == "tmpfs"] + (scratch if spec.read_only else [])
    return {
        "NetworkMode": "none",  # it gets our own cable
        "Sysctls": dict(SYSCTLS),
        "Init": spec.init,
        "ReadonlyRootfs": spec.read_only,
        "NanoCpus": int(limits.cpus * 1e9),
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_bytes,  # counted together: an equal limit means none
        **({"PidsLimit": limits.pids} if limits.pids else {}),
        "Mounts": [*given, *(_bind(m.target, m.source, m.read_only) for m in spec.mounts if m.kind == "bind")],
        "Tmpfs": {m.target: _memory_options(m) for m in memory},
        "CapDrop": ["ALL"],
        "CapAdd": _capabilities(spec.user or around.user),
        "SecurityOpt": ["no-new-privileges"],
        "Ulimits": [{"Name": name, "Soft": limit, "Hard": limit} for name, limit in around.ulimits.items()],
        "LogConfig": LOG,
    }


def _capabilities(user: str) -> list[str]:
    """As everywhere none unless they are root's; what is asked for by name, Podman gives to anybody."""
    is_root = user.partition(":")[0] in ("", "0", "root")
    return [name.removeprefix("CAP_") for name in CAPABILITIES] if is_root else []


def _bind(target: str, source: str, read_only: bool) -> dict[str, Any]:
    # Read-only does not reach mounts below: those are left out of a read-only bind.
    options = {"Propagation": "rprivate", "NonRecursive": read_only}
    return {"Type": "bind", "Target": target, "Source": source, "ReadOnly": read_only, "BindOptions": options}


def _memory_options(mount: Mount) -> str:
    size = [f"size={mount.size_bytes}"] if mount.size_bytes else []
    return ",".join(["ro" if mount.read_only else "rw", "exec", "nosuid", "nodev", "mode=1777", *size])
