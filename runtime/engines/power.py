"""How much power the processes of a container have: capabilities, what of /proc and /sys is hidden, which devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.engines.user import User
from runtime.errors import InvalidSpec
from runtime.model import ContainerSpec

# Docker's. With no new privileges, which is the default here, MKNOD makes nothing that could be opened: the control
# group lets none but the harmless devices in.
CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)
# The kernel's, in the order of their numbers (capabilities(7)).
ALL = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER"),
    *("SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
    "CHECKPOINT_RESTORE",
)
MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def named(mask: int) -> tuple[str, ...]:
    """The capabilities of a mask, as /proc/PID/status shows one."""
    return tuple(f"CAP_{name}" for number, name in enumerate(ALL) if mask >> number & 1)


def capabilities(spec: ContainerSpec, ours: tuple[str, ...]) -> tuple[str, ...]:
    """What the container may have at most. `ours` is what this process could give: "ALL" is no more than that.
    Raises InvalidSpec for one that the host cannot give."""
    added, dropped = ({_whole(cap) for cap in caps} for caps in (spec.cap_add, spec.cap_drop))
    known = {f"CAP_{name}" for name in ALL}
    faults = [f"{cap} is no capability" for cap in sorted((added | dropped) - known - {"CAP_ALL"})]
    faults += [f"this host cannot give {cap}: it has not got it itself" for cap in sorted((added & known) - set(ours))]
    if faults:
        raise InvalidSpec(spec.name, tuple(faults))
    base = set(ours) if spec.privileged or "CAP_ALL" in added else set(CAPABILITIES) & set(ours)
    base = set() if "CAP_ALL" in dropped and not spec.privileged else base - dropped
    chosen = base | (added & known)
    return tuple(f"CAP_{name}" for name in ALL if f"CAP_{name}" in chosen)


def sets(spec: ContainerSpec, user: User, most: tuple[str, ...]) -> dict[str, list[str]]:
    """The capability sets of the first process. Who is not root has none, and may only gain them where the container
    lets its processes gain privileges."""
    root = user.uid == 0
    bounding = most if root or not spec.no_new_privileges or spec.privileged else ()
    return {
        "bounding": list(bounding),
        "effective": list(most if root else ()),
        "permitted": list(most if root else ()),
    }


def devices(spec: ContainerSpec, allowed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules of the devices' control group; the engine adds the harmless ones, as /dev/null is."""
    return [{"allow": spec.privileged, "access": "rwm"}, *([] if spec.privileged else allowed)]


def _whole(cap: str) -> str:
    return cap if cap.startswith("CAP_") else f"CAP_{cap}"
