"""A seccomp profile in Docker's form (the default one of containers-common is), brought into that of an OCI bundle."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

_ARCHITECTURES = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64", "arm": "SCMP_ARCH_ARM"}
_PASSING = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
# Not SCMP_ACT_NOTIFY: there is nobody here who would be asked.
_ACTIONS = (
    *_PASSING,
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
)
_OPERATORS = tuple(f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))
_NUMBER = {"type": "integer", "minimum": 0, "maximum": (1 << 64) - 1}
_ERRNO = {"type": "integer", "minimum": 0, "maximum": 4095}
_WORDS = {"type": ["array", "null"], "items": {"type": "string", "minLength": 1}}
_CONDITIONS = {
    "type": ["object", "null"],
    "properties": {
        "caps": _WORDS,
        "arches": _WORDS,
        "minKernel": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)*$"},
    },
}
_ARGUMENT = {
    "type": "object",
    "required": ["index", "value", "op"],
    "properties": {
        "index": {"type": "integer", "minimum": 0, "maximum": 5},
        "value": _NUMBER,
        "valueTwo": _NUMBER,
        "op": {"enum": _OPERATORS},
    },
}
_RULE = {
    "type": "object",
    "required": ["names", "action"],
    "properties": {
        "names": {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
        "action": {"enum": _ACTIONS},
        "args": {"type": ["array", "null"], "items": _ARGUMENT},
        "errnoRet": {"anyOf": [_ERRNO, {"type": "null"}]},
        "includes": _CONDITIONS,
        "excludes": _CONDITIONS,
    },
}
SCHEMA = {
    "type": "object",
    "required": ["defaultAction"],
    "properties": {
        "defaultAction": {"enum": _ACTIONS},
        "defaultErrnoRet": _ERRNO,
        "syscalls": {"type": ["array", "null"], "items": _RULE},
    },
}


def profile(
    source: Mapping[str, Any], capabilities: Collection[str], architecture: str, kernel: tuple[int, int]
) -> dict[str, Any]:
    """What `source` says for these capabilities on this architecture ("amd64") and kernel (major, minor).

    Only the native architecture is let in: the 32-bit ones cost 14 ms a start, and nobody needs them.
    """
    applies = [r for r in source.get("syscalls") or () if _applies(r, capabilities, architecture, kernel)]
    return {
        "defaultAction": source["defaultAction"],
        "defaultErrnoRet": source.get("defaultErrnoRet", 1),
        "architectures": [_ARCHITECTURES[architecture]],
        "syscalls": [_rule(r) for r in applies],
    }


def wider(own: Mapping[str, Any], default: Mapping[str, Any]) -> tuple[str, ...]:
    """The system calls that `own` lets through and `default` does not, in the order of their names, or `("any",)`;
    both as `profile` gives them. In doubt one is named: arguments are not weighed, only compared."""
    if own["defaultAction"] in _PASSING:
        return ("any",)
    whole = {name for name, args in _passed(default) if not args}
    partly = set(_passed(default))
    return tuple(sorted({name for name, args in _passed(own) if name not in whole and (name, args) not in partly}))


def _passed(found: Mapping[str, Any]) -> Iterator[tuple[str, frozenset[tuple[int, int, int, str]]]]:
    for rule in found["syscalls"]:
        if rule["action"] in _PASSING:
            args = rule.get("args") or ()
            wanted = frozenset((a["index"], a["value"], a.get("valueTwo", 0), a["op"]) for a in args)
            yield from ((name, wanted) for name in rule["names"])


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
    if rule["action"] == "SCMP_ACT_ERRNO" and rule.get("errnoRet") is not None:
        found["errnoRet"] = rule["errnoRet"]
    return found
