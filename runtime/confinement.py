"""Which system calls a container may make: the host's default, a profile of its own, or any."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from runtime import policy
from runtime.engines import seccomp
from runtime.errors import InvalidSettings, InvalidSpec
from runtime.images.manifest import architecture
from runtime.model import ContainerSpec

UNCONFINED = "unconfined"
LARGEST_BYTES = 1 << 20
NAMED = 5  # of what a profile lets through too much

Capabilities = tuple[str, ...]
Profile = dict[str, Any]


class Confinement:
    """`default` is the host's profile in Docker's form, None where it has none."""

    def __init__(self, default: Mapping[str, Any] | None) -> None:
        self._default = default
        self._known: dict[Capabilities, Profile] = {}

    def of(self, spec: ContainerSpec, capabilities: Capabilities) -> Profile | None:
        """What stands in the bundle, None for all system calls. A file is read anew each time.
        Raises InvalidSpec for what the host does not allow, InvalidSettings for a profile that is none."""
        if not spec.seccomp:
            return None if spec.privileged else self._usual(capabilities)
        return self._of_its_own(spec, capabilities)

    def _of_its_own(self, spec: ContainerSpec, capabilities: Capabilities) -> Profile | None:
        """The same for a container that asks for one. Without a default, any is wider."""
        if spec.seccomp == UNCONFINED:
            _must_be_allowed(spec, "without a seccomp profile a container can make any system call")
            return None
        found = _adapted(read(spec.seccomp), capabilities)
        usual = self._usual(capabilities)
        if usual is None:
            _must_be_allowed(spec, "this host has no default seccomp profile that it could be compared with")
        elif more := seccomp.wider(found, usual):
            names = ", ".join(more[:NAMED]) + (f" and {len(more) - NAMED} more" if len(more) > NAMED else "")
            _must_be_allowed(spec, f"it lets through what the default does not: {names}")
        return found

    def _usual(self, capabilities: Capabilities) -> Profile | None:
        if self._default is not None and capabilities not in self._known:
            self._known[capabilities] = _adapted(self._default, capabilities)
        return self._known.get(capabilities)


def read(path: str) -> dict[str, Any]:
    """The profile in this file, in Docker's form. Raises InvalidSettings with every fault, InvalidSpec where there is
    none."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(LARGEST_BYTES + 1)
    except OSError as err:
        raise InvalidSpec("seccomp", (f"the seccomp profile {path} cannot be read: {err.strerror}",)) from err
    try:
        if len(text) > LARGEST_BYTES:
            raise ValueError(f"it is larger than {LARGEST_BYTES >> 20} MiB")
        found: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as err:
        raise InvalidSettings(f"{path}:{err.lineno}", (f"it is no JSON: {err.msg}",)) from err
    except (ValueError, RecursionError) as err:
        raise InvalidSettings(path, (f"it is no seccomp profile: {err}",)) from err
    if faults := _faults(found):
        raise InvalidSettings(path, faults)
    return found


def _faults(found: object) -> tuple[str, ...]:
    from jsonschema import Draft7Validator  # who has no profile does not pay for it

    told = sorted(
        Draft7Validator(seccomp.SCHEMA).iter_errors(found), key=lambda err: [str(p) for p in err.absolute_path]
    )
    return tuple(f"{_place(list(err.absolute_path))}{_brief(err.message)}" for err in told)


def _place(path: list[str | int]) -> str:
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return f"{words}: " if words else ""


def _brief(message: str) -> str:
    return message if len(message) <= 200 else f"{message[:90]} … {message[-90:]}"


def _must_be_allowed(spec: ContainerSpec, why: str) -> None:
    path = spec.seccomp if spec.seccomp == UNCONFINED else str(Path(spec.seccomp).resolve())
    if not policy.read(policy.FILE).allows_profile(path):
        fault = f'seccomp {spec.seccomp} is not allowed here ({why}); `seccomp = ["{path}"]` in {policy.FILE} allows it'
        raise InvalidSpec(spec.name, (fault,))


def _adapted(source: Mapping[str, Any], capabilities: Capabilities) -> Profile:
    return seccomp.profile(source, capabilities, architecture(), _kernel())


@cache
def _kernel() -> tuple[int, int]:
    major, minor = platform.release().split("-")[0].split(".")[:2]
    return int(major), int(minor)
