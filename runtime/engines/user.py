"""Whom a container runs as: names from the container's own passwd and group files."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import InvalidSpec


@dataclass(frozen=True)
class User:
    """Numbers, and the home directory."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


def resolve(wanted: str, passwd: str, group: str, more: tuple[str, ...] = ()) -> User:
    """Read `user[:group]`, names or numbers; "" is root. `more` are further groups. Raises InvalidSpec for a name that
    the container lacks."""
    name, _, group_name = wanted.partition(":")
    entry = _find(passwd, name or "0", 6)
    if entry is None and name and not name.isdecimal():
        raise InvalidSpec(wanted, (f"the image has no user {name!r} in /etc/passwd",))
    uid = int(entry[2]) if entry else int(name or 0)
    own_gid = int(entry[3]) if entry else 0
    groups = tuple(_groups_of(entry[0], group)) if entry and not group_name else ()
    gid = _gid(wanted, group_name, group) if group_name else own_gid
    groups = (*groups, *(_gid(wanted, name, group) for name in more))
    return User(uid, gid, tuple(dict.fromkeys(g for g in groups if g != gid)), (entry[5] if entry else "") or "/")


def _gid(wanted: str, name: str, group: str) -> int:
    entry = _find(group, name, 3)
    if entry is None and not name.isdecimal():
        raise InvalidSpec(wanted, (f"the image has no group {name!r} in /etc/group",))
    return int(entry[2]) if entry else int(name)


def _find(text: str, wanted: str, least: int) -> list[str] | None:
    """The line whose name, else whose number is `wanted`."""
    lines = [fields for line in text.splitlines() if len(fields := line.split(":")) >= least and fields[2].isdecimal()]
    return next((f for f in lines if f[0] == wanted), None) or next((f for f in lines if f[2] == wanted), None)


def _groups_of(name: str, group: str) -> list[int]:
    lines = [line.split(":") for line in group.splitlines()]
    return [int(f[2]) for f in lines if len(f) >= 4 and f[2].isdecimal() and name in f[3].split(",")]
