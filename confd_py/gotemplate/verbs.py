"""One value by one verb of Go's printf, with flags, width and precision."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from confd_py.gotemplate.clock import Time
from confd_py.gotemplate.literals import printable, quote
from confd_py.gotemplate.printing import float_text, text_of
from confd_py.gotemplate.values import Byte, element_is_interface, is_struct, type_name, utf8


@dataclass(frozen=True)
class Verb:
    """What stands behind a percent sign. `names` is %+v: structs with their fields; `syntax` is %#v: as Go source."""

    letter: str
    minus: bool = False
    plus: bool = False
    sharp: bool = False
    space: bool = False
    zero: bool = False
    width: int | None = None
    precision: int | None = None
    names: bool = False
    syntax: bool = False


def formatted(verb: Verb, value: Any) -> str:
    """The text of `value`; a verb that does not fit says so in it."""
    if verb.letter == "T" and value is not None:
        return _string(replace(verb, letter="s"), type_name(value))
    if verb.letter == "v":  # its own meanings of two flags
        verb = replace(verb, plus=False, sharp=False, names=verb.plus, syntax=verb.sharp)
    if value is None:
        return _pad(verb, "<nil>") if verb.letter in "Tv" else f"%!{verb.letter}(<nil>)"
    return _any(verb, value)


def _any(verb: Verb, value: Any) -> str:
    if isinstance(value, dict):
        return _map(verb, value)
    if isinstance(value, list):
        return _list(verb, value)
    return _struct(verb, value) if is_struct(value) else _scalar(verb, value)


def _inner(verb: Verb, value: Any, *, boxed: bool) -> str:
    """An element; nothing is told without width, and in a place for any type with that type."""
    if value is None:
        return "interface {}(nil)" if verb.syntax and boxed else "<nil>"
    return _any(verb, value)


def _map(verb: Verb, value: dict[str, Any]) -> str:
    pairs = [f"{_any(verb, key)}:{_inner(verb, value[key], boxed=True)}" for key in sorted(value)]
    return f"{type_name(value)}{{{', '.join(pairs)}}}" if verb.syntax else f"map[{' '.join(pairs)}]"


def _list(verb: Verb, value: list[Any]) -> str:
    items = [_inner(verb, item, boxed=element_is_interface(value)) for item in value]
    return f"{type_name(value)}{{{', '.join(items)}}}" if verb.syntax else f"[{' '.join(items)}]"


def _struct(verb: Verb, value: Any) -> str:
    fields = [_inner(verb, field, boxed=False) for field in value]
    if verb.names or verb.syntax:
        fields = [f"{name}:{text}" for name, text in zip(value._fields, fields, strict=True)]
    if verb.syntax:
        return type_name(value).replace("*", "&") + "{" + ", ".join(fields) + "}"
    return ("&" if type_name(value).startswith("*") else "") + "{" + " ".join(fields) + "}"


def _scalar(verb: Verb, value: Any) -> str:
    if isinstance(value, bool):
        return _pad(verb, text_of(value)) if verb.letter in "tv" else _misfit(verb, value)
    if isinstance(value, str):
        return _string(verb, value)
    named = getattr(value, "go_text", None)
    if verb.syntax and isinstance(value, Time):
        return _string(replace(verb, letter="s", syntax=False), value.GoString())
    if named is not None and verb.letter in "vsxXq" and not verb.syntax:
        return _string(replace(verb, letter="s") if verb.letter == "v" else verb, named())
    if isinstance(value, int):
        return _integer(verb, value)
    if isinstance(value, float):
        return _float(verb, value)
    return _pad(verb, text_of(value)) if verb.letter in "vg" else _misfit(verb, value)


def _misfit(verb: Verb, value: Any) -> str:
    """Printed as by %v, but with the flags, the width and the precision as they were meant."""
    return f"%!{verb.letter}({type_name(value)}={_any(replace(verb, letter='v'), value)})"


def _pad(verb: Verb, text: str) -> str:
    if verb.width is None or len(text) >= verb.width:
        return text
    return text.ljust(verb.width) if verb.minus else text.rjust(verb.width, "0" if verb.zero else " ")


# -- strings ------------------------------------------------------------------------------------------


def _string(verb: Verb, text: str) -> str:
    if verb.letter in "xX":
        return _pad(verb, _hex(utf8(text)[: verb.precision], verb))
    if verb.letter not in "svq":
        return _misfit(verb, text)
    text = text if verb.precision is None else text[: verb.precision]
    if verb.letter == "q" or verb.syntax:
        backquotable = not _NEEDS_QUOTES.search(text)
        text = f"`{text}`" if verb.sharp and backquotable else quote(text, ascii_only=verb.plus)
    return _pad(verb, text)


_NEEDS_QUOTES = re.compile("[`\\x00-\\x08\\x0a-\\x1f\\x7f\\ufeff\\ud800-\\udfff]")


def _hex(raw: bytes, verb: Verb) -> str:
    prefix = "0x" if verb.sharp and raw else ""
    body = (" " + prefix).join(f"{byte:02x}" for byte in raw) if verb.space else raw.hex()
    return (prefix + body).upper() if verb.letter == "X" else prefix + body


# -- numbers ------------------------------------------------------------------------------------------

_BASES = {"d": "d", "v": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
_PREFIXES = {"b": "0b", "o": "0", "x": "0x", "X": "0X"}


def _integer(verb: Verb, value: int) -> str:
    if verb.letter == "c":
        return _pad(verb, _character(value))
    if verb.letter == "q":
        return _pad(verb, quote(_character(value), "'", ascii_only=verb.plus))
    if verb.letter == "U":
        return _pad(replace(verb, zero=False), _code_point(verb, value))
    if verb.letter not in _BASES:
        return _misfit(verb, value)
    unpadded = replace(verb, zero=False)
    if verb.syntax and isinstance(value, Byte):
        return _pad(verb, hex(value))
    if verb.precision == 0 and value == 0:
        return _pad(unpadded, "")
    sign = "-" if value < 0 else "+" if verb.plus else " " if verb.space else ""
    digits = format(abs(value), _BASES[verb.letter]).rjust(_least_digits(verb, sign), "0")
    return _pad(unpadded, sign + _prefix(verb, digits) + digits)


def _least_digits(verb: Verb, sign: str) -> int:
    """Zeros fill up to the precision, else to the width; a prefix comes on top of that."""
    if verb.precision is not None:
        return verb.precision
    return (verb.width or 0) - len(sign) if verb.zero else 0


def _prefix(verb: Verb, digits: str) -> str:
    if verb.letter == "O":
        return "0o" if not verb.sharp or digits[0] == "0" else "0o0"
    if not verb.sharp or (verb.letter == "o" and digits[0] == "0"):
        return ""
    return _PREFIXES.get(verb.letter, "")


def _character(code: int) -> str:
    return chr(code) if 0 <= code <= 0x10FFFF and not 0xD800 <= code < 0xE000 else "\ufffd"


def _code_point(verb: Verb, value: int) -> str:
    char = f" '{chr(value)}'" if verb.sharp and 0 <= value <= 0x10FFFF and printable(chr(value)) else ""
    return f"U+{value % (1 << 64):0{max(4, verb.precision or 0)}X}{char}"


def _float(verb: Verb, value: float) -> str:
    letter = "g" if verb.letter == "v" else verb.letter.replace("F", "f")
    if letter not in "beEfgGxX":
        return _misfit(verb, value)
    precision = verb.precision if verb.precision is not None else -1 if letter in "bgGxX" else 6
    text = float_text(value, letter, precision)
    sign, digits = (text[0], text[1:]) if text[0] in "+-" else ("+", text)
    if sign == "+" and verb.space and not verb.plus:
        sign = " "
    if digits in ("Inf", "NaN"):
        told = digits == "Inf" or verb.space or verb.plus
        return _pad(replace(verb, zero=False), (sign if told else "") + digits)
    if verb.sharp and letter != "b":
        digits = _with_point(digits, verb.letter, verb.precision)
    if sign == "+" and not verb.plus:
        sign = ""
    if verb.zero and verb.width:
        return sign + digits.rjust(verb.width - len(sign), "0")
    return _pad(verb, sign + digits)


def _with_point(digits: str, letter: str, precision: int | None) -> str:
    """The `#` flag: a decimal point in any case, and for %g and %x the zeros behind it that were cut."""
    tail_at = re.search(r"[pP]" if letter in "xX" else r"[eE]", digits)
    body, tail = (digits[: tail_at.start()], digits[tail_at.start() :]) if tail_at else (digits, "")
    left = (6 if precision is None else precision) if letter in "vgGx" else 0
    left -= len(re.sub(r"^0+", "", body.replace(".", "")))
    if "." not in body:
        left -= body == "0"
        body += "."
    return body + "0" * max(0, left) + tail
