"""The default seccomp profile of containers-common, brought into the form of an OCI bundle."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

_ARCHITECTURES = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64", "arm": "SCMP_ARCH_ARM"}


def profile(
    source: Mapping[str, Any], capabilities: Collection[str], architecture: str, kernel: tuple[int, int]
) -> dict[str, Any]:
    """What `source` says for these capabilities on this architecture ("amd64") and kernel (major, minor).

    Only the native architecture is let in: the 32-bit ones cost 14 ms a start, and nobody needs them.
    """
    applies = [r for r in source["syscalls"] if _applies(r, capabilities, architecture, kernel)]
    return {
        "defaultAction": source["defaultAction"],
        "defaultErrnoRet": source.get("defaultErrnoRet", 1),
        "architectures": [_ARCHITECTURES[architecture]],
        "syscalls": [_rule(r) for r in applies],
    }


def _applies(
    rule: Mapping[str, Any], capabilities: Collection[str], architecture: str, kernel: tuple[int, int]
) -> bool:
    wanted, refused = rule.get("includes") or {}, rule.get("excludes") or {}
    least = wanted.get("minKernel")
    return not (
        (wanted.get("arches") and architecture not in wanted["arches"])
        or architecture in (refused.get("arches") or ())
        or any(c not in capabilities for c in wanted.get("caps") or ())
        or any(c in capabilities for c in refused.get("caps") or ())
        or (least and tuple(int(n) for n in least.split(".")[:2]) > kernel)
    )


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    found = {"names": rule["names"], "action": rule["action"]}
    if rule.get("args"):
        found["args"] = rule["args"]
    if rule["action"] == "SCMP_ACT_ERRNO" and "errnoRet" in rule:
        found["errnoRet"] = rule["errnoRet"]
    return found
