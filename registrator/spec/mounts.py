"""Directories and files of the node inside a container, and tmpfs."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping
from pathlib import Path

from registrator.model.release import Mount
from registrator.spec.field import Field
from registrator.spec.quantity import size_bytes


def mounts_of(
    service: Field, base_dir: Path, variables: Mapping[str, str], volumes: Mapping[str, str]
) -> tuple[Mount, ...]:
    """The mounts of `volumes` and `tmpfs`. Sources are absolute paths of the node, or what its `volumes` are called."""
    found: dict[str, Mount] = {}
    for place, mount in _all(service, base_dir, variables, volumes):
        if mount.target in found:
            place.fault(f"something is mounted at {mount.target} already")
        found[mount.target] = mount
    return tuple(found.values())


def _all(
    service: Field, base_dir: Path, variables: Mapping[str, str], volumes: Mapping[str, str]
) -> Iterator[tuple[Field, Mount]]:
    for place in service["volumes"].items():
        read = _long if isinstance(place.value, dict) else _short
        mount = read(place, base_dir, variables, volumes)
        if mount is not None:
            yield place, mount
    for place in service["tmpfs"].items():
        if (mount := _tmpfs(place)) is not None:
            yield place, mount


def _short(place: Field, base_dir: Path, variables: Mapping[str, str], volumes: Mapping[str, str]) -> Mount | None:
    """SOURCE:TARGET[:ro|:rw], or TARGET, which gets a volume of the instance's own."""
    source, *rest = place.text().split(":")
    if not rest and source.startswith("/"):
        return _own(place, source)
    if not 1 <= len(rest) <= 2:
        place.fault("must be SOURCE:TARGET[:ro], or a TARGET that begins with /")
        return None
    if len(rest) == 2 and rest[1] not in ("ro", "rw"):
        place.fault(f"the option {rest[1][:20]!r} is not served; ro and rw are")
    target, read_only = target_of(place, rest[0]), rest[1:] == ["ro"]
    if source and source[0] not in "/.~":
        return _named(place, source, target, read_only, volumes)
    origin = source_of(place, source, base_dir, variables)
    return Mount("bind", target, origin, read_only=read_only) if origin and target else None


def _long(place: Field, base_dir: Path, variables: Mapping[str, str], volumes: Mapping[str, str]) -> Mount | None:
    target = target_of(place["target"], place["target"].text())
    read_only = place["read_only"].truth()
    if place["type"].value is None:
        return None
    if place["type"].text() == "tmpfs":
        if place["source"].value is not None:
            place["source"].fault("a tmpfs has no source")
        return Mount("tmpfs", target, "", read_only, place["tmpfs"]["size"].size_bytes()) if target else None
    if place["tmpfs"].value is not None:
        place["tmpfs"].fault("belongs to mounts of type tmpfs")
    if place["type"].text() == "volume" and place["source"].value is None:
        return _own(place["target"], place["target"].text())
    if place["source"].value is None and (*place.path, "source") not in place.findings.broken:
        place.fault(f"a mount of type {place['type'].text()} needs a source")
        return None
    if place["type"].text() == "volume":
        return _named(place["source"], place["source"].text(), target, read_only, volumes)
    origin = source_of(place["source"], place["source"].text(), base_dir, variables)
    return Mount("bind", target, origin, read_only) if origin and target else None


def _own(place: Field, target: str) -> Mount | None:
    inside = target_of(place, target)
    return Mount("volume", inside) if inside else None


def _named(place: Field, name: str, target: str, read_only: bool, volumes: Mapping[str, str]) -> Mount | None:
    if place.value is None:
        return None
    if name not in volumes:
        place.fault(f"{name[:60]!r} is not among the volumes of this file; a path begins with / or ./")
        return None
    return Mount("volume", target, volumes[name], read_only) if target else None


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
    target = target_of(place, path)
    return Mount("tmpfs", target, size_bytes=size) if target else None


def source_of(place: Field, source: str, base_dir: Path, variables: Mapping[str, str]) -> str:
    """The absolute path; "" after a fault."""
    if place.value is None:
        return ""
    if source == "~" or source.startswith("~/"):
        source = variables.get("HOME", "") + source[1:]
    if source.startswith("."):
        source = str(base_dir / source)
    if not source.startswith("/") or not source.isprintable():
        place.fault(f"{source[:60]!r} is not a path that begins with / or ./")
        return ""
    return os.path.normpath(source)


def target_of(place: Field, target: str) -> str:
    """The absolute path inside the container; "" after a fault."""
    if place.value is None:
        return ""
    inside = os.path.normpath(target) if target.startswith("/") else ""
    if inside in ("", "/", "//") or ".." in target.split("/") or not target.isprintable():
        place.fault(f"the target must be an absolute path below /; is {target[:60]!r}")
        return ""
    return inside
