"""Go's flag package, for a command whose users come from a Go program: what `-x v`, `-x=v` and `--x` mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Value = str | bool | int
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")
_INT = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|0[oO]?[0-7]*|0[bB][01]+|[1-9][0-9]*)")
_BITS = 63


class FlagFault(Exception):
    """The command line can't be read; the text says why, in Go's words."""


class HelpAsked(Exception):
    """-h or -help."""


@dataclass(frozen=True)
class Flag:
    """The default, whose type is the flag's, and what it is for."""

    default: Value
    help: str


def parse(arguments: Sequence[str], known: Mapping[str, Flag]) -> tuple[dict[str, Value], list[str]]:
    """The value of every flag, and what follows the first word that is no flag. Raises FlagFault, HelpAsked."""
    values = {name: flag.default for name, flag in known.items()}
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, given = word.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise FlagFault(f"bad flag syntax: {word}")
        if name not in known:
            if name in ("h", "help"):
                raise HelpAsked
            raise FlagFault(f"flag provided but not defined: -{name}")
        if isinstance(known[name].default, bool):
            values[name] = _bool(name, given) if equals else True
            continue
        if not equals:
            if not rest:
                raise FlagFault(f"flag needs an argument: -{name}")
            given = rest.pop(0)
        values[name] = _int(name, given) if isinstance(known[name].default, int) else given
    return values, rest


def usage(known: Mapping[str, Flag]) -> str:
    """The flags as Go lists them."""
    lines = []
    for name, flag in sorted(known.items()):
        kind = {bool: "", int: " int", str: " string"}[type(flag.default)]
        default = ""
        if flag.default:
            default = f' (default "{flag.default}")' if isinstance(flag.default, str) else f" (default {flag.default})"
        lines += [f"  -{name}{kind}", f"    \t{flag.help}{default}"]
    return "\n".join(lines)


def _bool(name: str, given: str) -> bool:
    if given not in (*_TRUE, *_FALSE):
        raise FlagFault(f'invalid boolean value "{given}" for -{name}: parse error')
    return given in _TRUE


def _int(name: str, given: str) -> int:
    if not _INT.fullmatch(given):
        raise FlagFault(f'invalid value "{given}" for flag -{name}: parse error')
    sign, digits = (given[0], given[1:]) if given[0] in "+-" else ("", given)
    octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    number = int(sign + (f"0o{digits}" if octal else digits), 0)
    if not -(1 << _BITS) <= number < 1 << _BITS:
        raise FlagFault(f'invalid value "{given}" for flag -{name}: value out of range')
    return number
