"""Go's flag package: what `-x v`, `-x=v` and `--x` mean. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from confd_py.errors import UsageError
from confd_py.notation import parse_go_bool, parse_go_int

Kind = Literal["text", "bool", "int", "list"]
Value = str | bool | int | list[str]
_GO_NAMES = {"text": " string", "bool": "", "int": " int", "list": " value"}


@dataclass(frozen=True)
class Flag:
    """A flag's kind and what it is for."""

    kind: Kind
    help: str


def parse_flags(arguments: Sequence[str], known: Mapping[str, Flag]) -> tuple[dict[str, Value], list[str]]:
    """Values of the flags that were given, and what follows the first word that is no flag.

    Raises UsageError; `-h` and `-help` come back as the flag "help".
    """
    values: dict[str, Value] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, given = word.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise UsageError(f"bad flag syntax: {word}")
        if name in ("h", "help") and name not in known:
            return {"help": True}, rest
        if name not in known:
            raise UsageError(f"flag provided but not defined: -{name}", hint="confd-py -h lists the flags.")
        if known[name].kind == "bool":
            values[name] = _bool(name, given) if equals else True
            continue
        if not equals:
            if not rest:
                raise UsageError(f"flag needs an argument: -{name}")
            given = rest.pop(0)
        _set(values, name, known[name].kind, given)
    return values, rest


def usage(program: str, known: Mapping[str, Flag]) -> str:
    """What `-h` prints."""
    lines = [f"Usage of {program}:"]
    for name, flag in sorted(known.items()):
        lines += [f"  -{name}{_GO_NAMES[flag.kind]}", f"    \t{flag.help}"]
    return "\n".join(lines)


def _set(values: dict[str, Value], name: str, kind: Kind, given: str) -> None:
    if kind == "list":
        before = values.setdefault(name, [])
        assert isinstance(before, list)
        before.append(given)
    elif kind == "int":
        values[name] = _int(name, given)
    else:
        values[name] = given


def _int(name: str, given: str) -> int:
    number = parse_go_int(given)
    if number is None:
        raise UsageError(f'invalid value "{given}" for flag -{name}: parse error')
    if not -(1 << 63) <= number < 1 << 63:
        raise UsageError(f'invalid value "{given}" for flag -{name}: value out of range')
    return number


def _bool(name: str, given: str) -> bool:
    found = parse_go_bool(given)
    if found is None:
        raise UsageError(f'invalid boolean value "{given}" for -{name}: parse error')
    return found
