"""Go's printf: verbs, flags, widths, argument numbers, and what it prints when verb and value do not fit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from confd_py.gotemplate.literals import printable, quote
from confd_py.gotemplate.printing import float_text, text_of
from confd_py.gotemplate.values import element_is_interface, is_struct, type_name, utf8

_DIRECTIVE = re.compile(
    r"%([-+# 0]*)((?:\[[^\]]*\]?)?(?:\*|[0-9]+)?)(\.(?:\[[^\]]*\]?)?(?:\*|[0-9]*))?(\[[^\]]*\]?)?(.?)", re.DOTALL
)
_INDEX = re.compile(r"\[([0-9]+)\]")
_WIDEST = 1_000_000  # Go's own limit


@dataclass(frozen=True)
class _Verb:
    letter: str
    minus: bool = False
    plus: bool = False
    sharp: bool = False
    space: bool = False
    zero: bool = False
    width: int | None = None
    precision: int | None = None


def sprintf(template: str, *values: Any) -> str:
    """Go's fmt.Sprintf; it never fails: mistakes are printed where the value would have been."""
    return _Printer(values).text(template)


class _Printer:
    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values
        self._at = 0
        self._reordered = False
        self._good = True

    def text(self, template: str) -> str:
        out, pos = [], 0
        while (found := template.find("%", pos)) >= 0:
            out.append(template[pos:found])
            match = _DIRECTIVE.match(template, found)
            assert match is not None  # every part but the percent sign is optional
            out.append(self._directive(match))
            pos = match.end()
        out.append(template[pos:])
        if not self._reordered and self._at < len(self._values):
            extra = ", ".join(_typed(value) for value in self._values[self._at :])
            out.append(f"%!(EXTRA {extra})")
        return "".join(out)

    def _directive(self, match: re.Match[str]) -> str:
        flags, width, precision, index, letter = match.groups()
        self._good = True
        faults, wide = self._amount(width, "WIDTH")
        more, precise = self._amount(precision[1:], "PREC") if precision is not None else ("", None)
        if precision is not None and precise is None and not more:
            precise = 0
        self._take_index(index or "")
        faults += more
        if not letter:
            return faults + "%!(NOVERB)"
        if letter == "%":
            return faults + "%"
        if not self._good:
            return faults + f"%!{letter}(BADINDEX)"
        if self._at >= len(self._values):
            return faults + f"%!{letter}(MISSING)"
        minus = "-" in flags or (wide is not None and wide < 0)
        verb = _Verb(
            letter,
            minus=minus,
            plus="+" in flags,
            sharp="#" in flags,
            space=" " in flags,
            zero="0" in flags and not minus,
            width=None if wide is None else abs(wide),
            precision=precise,
        )
        self._at += 1
        return faults + _format(verb, self._values[self._at - 1])

    def _amount(self, text: str, name: str) -> tuple[str, int | None]:
        """A width or precision: digits, or a star that takes the next value."""
        index = text[: text.rfind("]") + 1] if "[" in text else ""
        self._take_index(index)
        rest = text[len(index) :]
        if rest != "*":
            return "", int(rest) if rest and int(rest) <= _WIDEST else None
        value = self._values[self._at] if self._at < len(self._values) else None
        self._at += 1
        fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _WIDEST
        if not fits or (name == "PREC" and value is not None and value < 0):
            return (f"%!(BAD{name})", None) if not fits else ("", None)
        return "", value

    def _take_index(self, text: str) -> None:
        if not text:
            return
        self._reordered = True
        match = _INDEX.fullmatch(text)
        if match and 1 <= int(match[1]) <= len(self._values):
            self._at = int(match[1]) - 1
        else:
            self._good = False


def _typed(value: Any) -> str:
    return "<nil>" if value is None else f"{type_name(value)}={text_of(value)}"


def _format(verb: _Verb, value: Any, depth: int = 0) -> str:
    if verb.letter == "T":
        return _pad(replace(verb, zero=False), type_name(value))
    if value is None:
        if depth or verb.letter == "v":
            return _pad(replace(verb, zero=False), "<nil>")
        return f"%!{verb.letter}(<nil>)"
    if verb.letter == "v" and verb.sharp:
        return _pad(verb, _go_syntax(value)) if not isinstance(value, int | float) else _scalar(verb, value)
    if isinstance(value, list | dict) or is_struct(value):
        return _compound(verb, value, depth)
    return _scalar(verb, value)


def _compound(verb: _Verb, value: Any, depth: int) -> str:
    if isinstance(value, dict):
        pairs = (f"{_format(verb, k, 1)}:{_format(verb, value[k], 1)}" for k in sorted(value))
        return "map[" + " ".join(pairs) + "]"
    inner = [_format(verb, item, depth + 1) for item in value]
    if isinstance(value, list):
        return "[" + " ".join(inner) + "]"
    if verb.plus and verb.letter == "v":
        inner = [f"{name}:{text}" for name, text in zip(value._fields, inner, strict=True)]
    pointer = "&" if type_name(value).startswith("*") and not depth else ""
    return pointer + "{" + " ".join(inner) + "}"


def _scalar(verb: _Verb, value: Any) -> str:
    if isinstance(value, bool):
        good = verb.letter in "tv"
        return _pad(replace(verb, zero=False), text_of(value)) if good else _misfit(verb, value)
    if isinstance(value, str):
        return _string(verb, value)
    named = getattr(value, "go_text", None)
    if named is not None and verb.letter in "vsxXq":
        return _string(replace(verb, letter="s" if verb.letter == "v" else verb.letter), named())
    if isinstance(value, int):
        return _integer(verb, value)
    if isinstance(value, float):
        return _float(verb, value)
    if isinstance(value, complex) and verb.letter in "vg":
        return _pad(verb, text_of(value))
    return _misfit(verb, value)


def _misfit(verb: _Verb, value: Any) -> str:
    return f"%!{verb.letter}({_typed(value)})"


def _string(verb: _Verb, text: str) -> str:
    if verb.letter in "xX":
        raw = utf8(text)[: verb.precision]
        return _pad(verb, _hex(raw, verb))
    if verb.letter not in "svq":
        return _misfit(verb, text)
    text = text if verb.precision is None else text[: verb.precision]
    if verb.letter == "q":
        backquotable = "`" not in text and all(printable(char) or char == "\t" for char in text)
        text = f"`{text}`" if verb.sharp and backquotable else quote(text, ascii_only=verb.plus)
    return _pad(verb, text)


def _hex(raw: bytes, verb: _Verb) -> str:
    prefix = "0x" if verb.sharp and raw else ""
    body = (" " + prefix).join(f"{byte:02x}" for byte in raw) if verb.space else raw.hex()
    return (prefix + body).upper() if verb.letter == "X" else prefix + body


_BASES = {"d": "d", "v": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
_PREFIXES = {"b": "0b", "o": "0", "O": "0o", "x": "0x", "X": "0X"}


def _integer(verb: _Verb, value: int) -> str:
    if verb.letter == "c":
        return _pad(verb, _character(value))
    if verb.letter == "q":
        return _pad(verb, quote(_character(value), "'", ascii_only=verb.plus))
    if verb.letter == "U":
        return _pad(replace(verb, zero=False), _code_point(verb, value))
    if verb.letter not in _BASES:
        return _misfit(verb, value)
    digits = format(abs(value), _BASES[verb.letter])
    if verb.precision is not None:
        digits = "" if verb.precision == 0 and value == 0 else digits.rjust(verb.precision, "0")
    sign = "-" if value < 0 else "+" if verb.plus else " " if verb.space else ""
    if verb.letter == "O" or (
        verb.sharp and verb.letter in _PREFIXES and not (verb.letter == "o" and digits[:1] == "0")
    ):
        sign += _PREFIXES[verb.letter]
    if verb.zero and verb.width and verb.precision is None:
        return sign + digits.rjust(verb.width - len(sign), "0")
    return _pad(replace(verb, zero=False), sign + digits)


def _character(code: int) -> str:
    return chr(code) if 0 <= code <= 0x10FFFF and not 0xD800 <= code < 0xE000 else "\ufffd"


def _code_point(verb: _Verb, value: int) -> str:
    char = _character(value)
    return f"U+{value:04X}" + (f" '{char}'" if verb.sharp and printable(char) else "")


def _float(verb: _Verb, value: float) -> str:
    letter = "g" if verb.letter == "v" else verb.letter.replace("F", "f")
    if letter not in "eEfgG":
        return _misfit(verb, value)
    precision = verb.precision if verb.precision is not None else -1 if letter in "gG" else 6
    text = float_text(value, letter, precision)
    if text[0] not in "+-" and (verb.plus or verb.space):
        text = ("+" if verb.plus else " ") + text
    elif text == "+Inf" and not verb.plus:
        text = text if verb.letter in "vgGeEfF" else text[1:]
    if verb.zero and verb.width and text.lstrip("+- ")[0].isdigit():
        sign = text[0] if text[0] in "+- " else ""
        return sign + text[len(sign) :].rjust(verb.width - len(sign), "0")
    return _pad(replace(verb, zero=False), text)


def _pad(verb: _Verb, text: str) -> str:
    if verb.width is None or len(text) >= verb.width:
        return text
    return text.ljust(verb.width) if verb.minus else text.rjust(verb.width, "0" if verb.zero else " ")


def _go_syntax(value: Any, *, boxed: bool = False) -> str:
    """`%#v`; boxed values stand in a list or map of any type, where nil has to say so."""
    if value is None:
        return "interface {}(nil)" if boxed else "<nil>"
    if isinstance(value, str):
        return quote(value)
    inner = element_is_interface(value)
    if isinstance(value, dict):
        pairs = (f"{_go_syntax(key)}:{_go_syntax(value[key], boxed=inner)}" for key in sorted(value))
        return type_name(value) + "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return type_name(value) + "{" + ", ".join(_go_syntax(item, boxed=inner) for item in value) + "}"
    if is_struct(value):
        fields = (f"{name}:{_go_syntax(item)}" for name, item in zip(value._fields, value, strict=True))
        return type_name(value).replace("*", "&") + "{" + ", ".join(fields) + "}"
    return text_of(value)
