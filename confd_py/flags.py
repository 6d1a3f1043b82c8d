"""Go's flag package: what `-x v`, `-x=v` and `--x` mean. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from confd_py.errors import UsageError

Kind = Literal["text", "bool", "int", "list"]
Value = str | bool | int | list[str]
_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


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
        lines += [f"  -{name}{'' if flag.kind == 'bool' else ' ' + flag.kind}", f"    \t{flag.help}"]
    return "\n".join(lines)


def _set(values: dict[str, Value], name: str, kind: Kind, given: str) -> None:
    if kind == "list":
        before = values.setdefault(name, [])
        assert isinstance(before, list)
        before.append(given)
    elif kind == "int":
        try:
            values[name] = int(given, 0)
        except ValueError:
            raise UsageError(f'invalid value "{given}" for flag -{name}: parse error') from None
    else:
        values[name] = given


def _bool(name: str, given: str) -> bool:
    if given not in _BOOLS:
        raise UsageError(f'invalid boolean value "{given}" for -{name}: parse error')
    return _BOOLS[given]
