"""Directories and files of the node inside a container, and tmpfs."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping
from pathlib import Path

from registrator.model.release import Mount
from registrator.spec.field import Field
from registrator.spec.quantity import size_bytes


def mounts_of(service: Field, base_dir: Path, variables: Mapping[str, str]) -> tuple[Mount, ...]:
    """The mounts of `volumes` and `tmpfs`. Sources are absolute paths of the node."""
    found: dict[str, Mount] = {}
    for place, mount in _all(service, base_dir, variables):
        if mount.target in found:
            place.fault(f"something is mounted at {mount.target} already")
        found[mount.target] = mount
    return tuple(found.values())


def _all(service: Field, base_dir: Path, variables: Mapping[str, str]) -> Iterator[tuple[Field, Mount]]:
    for place in service["volumes"].items():
        mount = (
            _long(place, base_dir, variables) if isinstance(place.value, dict) else _short(place, base_dir, variables)
        )
        if mount is not None:
            yield place, mount
    for place in service["tmpfs"].items():
        if (mount := _tmpfs(place)) is not None:
            yield place, mount


def _short(place: Field, base_dir: Path, variables: Mapping[str, str]) -> Mount | None:
    """SOURCE:TARGET[:ro|:rw]."""
    source, *rest = place.text().split(":")
    if not rest or len(rest) > 2:
        place.fault("must be SOURCE:TARGET[:ro]: volumes without a directory of the node are not served")
        return None
    if len(rest) == 2 and rest[1] not in ("ro", "rw"):
        place.fault(f"the option {rest[1][:20]!r} is not served; ro and rw are")
    origin, target = _source(place, source, base_dir, variables), _target(place, rest[0])
    return Mount("bind", target, origin, read_only=rest[1:] == ["ro"]) if origin and target else None


def _long(place: Field, base_dir: Path, variables: Mapping[str, str]) -> Mount | None:
    target = _target(place["target"], place["target"].text())
    read_only = place["read_only"].truth()
    if place["type"].value is None:
        return None
    if place["type"].text() == "tmpfs":
        if place["source"].value is not None:
            place["source"].fault("a tmpfs has no source")
        return Mount("tmpfs", target, "", read_only, place["tmpfs"]["size"].size_bytes()) if target else None
    if place["tmpfs"].value is not None:
        place["tmpfs"].fault("belongs to mounts of type tmpfs")
    if place["source"].value is None and (*place.path, "source") not in place.findings.broken:
        place.fault("a mount of type bind needs a source")
        return None
    origin = _source(place["source"], place["source"].text(), base_dir, variables)
    return Mount("bind", target, origin, read_only) if origin and target else None


def _tmpfs(place: Field) -> Mount | None:
    """PATH[:size=SIZE]."""
    path, colon, options = place.text().partition(":")
    size = 0
    for option in options.split(",") if colon else ():
        name, _, value = option.partition("=")
        try:
            if name != "size":
                raise ValueError(f"the option {name[:20]!r} is not served; size is")
            size = size_bytes(value)
        except ValueError as err:
            place.fault(str(err))
    target = _target(place, path)
    return Mount("tmpfs", target, size_bytes=size) if target else None


def _source(place: Field, source: str, base_dir: Path, variables: Mapping[str, str]) -> str:
    """The absolute path; "" after a fault."""
    if place.value is None:
        return ""
    if source == "~" or source.startswith("~/"):
        source = variables.get("HOME", "") + source[1:]
    if source.startswith("."):
        source = str(base_dir / source)
    if not source.startswith("/") or not source.isprintable():
        place.fault(
            f"{source[:60]!r} is not a path that begins with / or ./ : volumes that have only a name are not served"
        )
        return ""
    return os.path.normpath(source)


def _target(place: Field, target: str) -> str:
    """The absolute path inside the container; "" after a fault."""
    if place.value is None:
        return ""
    inside = os.path.normpath(target) if target.startswith("/") else ""
    if inside in ("", "/", "//") or ".." in target.split("/") or not target.isprintable():
        place.fault(f"the target must be an absolute path below /; is {target[:60]!r}")
        return ""
    return inside
