"""Whether this host can, and may, run what is described; every mistake of one kind is told at once."""

from __future__ import annotations

import resource
from functools import cache
from pathlib import Path

from runtime import hostdevices, policy, subids
from runtime.engines import power, user
from runtime.errors import InvalidSpec
from runtime.linux import in_user_namespace
from runtime.model import ContainerSpec, IdMap, Limits


def check_sources(spec: ContainerSpec) -> None:
    missing = tuple(m.source for m in spec.mounts if m.kind == "bind" and not Path(m.source).exists())
    if missing:
        raise InvalidSpec(spec.name, tuple(f"the source {path} of a bind mount does not exist" for path in missing))


def check_power(spec: ContainerSpec) -> None:
    """What the host does not allow, or cannot give. Asking for a limit above our own would fail the start."""
    allowed = policy.read(policy.FILE) if spec.privileged or spec.devices or spec.userns else policy.Policy()
    faults = []
    if spec.userns and not (allowed.userns_host or allowed.privileged):
        faults.append(f"--userns host is not allowed here; `userns_host = true` in {policy.FILE} allows it")
    if spec.privileged and not allowed.privileged:
        faults.append(f"privileged containers are not allowed here; `privileged = true` in {policy.FILE} allows them")
    elif spec.privileged and allowed.userns_remap and not spec.userns:
        faults.append("a privileged container cannot have remapped ids: --userns host gives it those of the host")
    for device in spec.devices:
        if not allowed.allows(device.path):
            more = f'`devices = ["{device.path}"]` in {policy.FILE} allows it'
            faults.append(f"{device.path} is not for containers here; {more}")
        elif not hostdevices.is_one(device.path):
            faults.append(f"{device.path} is no device of this host")
    for limit in spec.ulimits:
        most = resource.getrlimit(getattr(resource, f"RLIMIT_{limit.name.upper()}"))[1]
        if most != resource.RLIM_INFINITY and not 0 <= limit.hard <= most and not _may_raise_limits():
            faults.append(f"ulimit {limit.name}: {limit.hard} is above what this process may give, {most}")
    if faults:
        raise InvalidSpec(spec.name, tuple(faults))


def check_limits(spec: ContainerSpec, *, cgroups: bool) -> None:
    """Who has no control groups for containers cannot limit them. Raises InvalidSpec."""
    if not cgroups and spec.limits != Limits():
        fault = "cpus, memory and pids of a container are limited for root only: without root it has no control group"
        raise InvalidSpec(spec.name, (f"{fault}; ulimits can be set",))


def check_ids(spec: ContainerSpec, who: user.User, idmap: IdMap) -> None:
    """Whom it runs as, and whom its files belong to, has to be somebody. Raises InvalidSpec."""
    faults = []
    owners = [(who.uid, who.gid), *((0, group) for group in who.groups), *((f.uid, f.gid) for f in spec.files)]
    for owner in owners:
        try:
            idmap.outside(*owner)
        except ValueError as err:
            faults.append(str(err))
    if faults:
        raise InvalidSpec(spec.name, tuple(dict.fromkeys(faults)))


def remapped(spec: ContainerSpec) -> IdMap | None:
    """Who a new container's users are on this host. Raises InvalidSpec, InvalidSettings."""
    wanted = policy.read(policy.FILE).userns_remap
    if not wanted or spec.userns == "host" or spec.privileged:
        return None
    return subids.idmap(wanted, policy.FILE)


def _may_raise_limits() -> bool:
    return "CAP_SYS_RESOURCE" in our_capabilities() and not in_user_namespace()  # it is the machine's root that may


@cache
def our_capabilities() -> tuple[str, ...]:
    status = Path("/proc/self/status").read_text()
    return power.named(int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:")), 16))
