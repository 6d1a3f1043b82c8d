"""Go's literals: strings, characters and numbers as written in a template, and strings as Go quotes them."""

from __future__ import annotations

import re

_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.)|$)", re.DOTALL)
_INT = re.compile(
    r"[+-]?(?:0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|0(?:_?[0-7])*|[1-9](?:_?[0-9])*)\Z"
)
_DECIMAL = r"[0-9](?:_?[0-9])*"
_FLOAT = re.compile(rf"[+-]?(?:{_DECIMAL}\.?(?:{_DECIMAL})?|\.{_DECIMAL})(?:[eE][+-]?{_DECIMAL})?\Z")
_HEX_FLOAT = re.compile(r"[+-]?0[xX](?:_?[0-9a-fA-F])*\.?(?:[0-9a-fA-F](?:_?[0-9a-fA-F])*)?[pP][+-]?[0-9]+\Z")
_LEAST, _MOST = -(2**63), 2**63 - 1


class BadLiteral(ValueError):
    """It is no literal of Go; the text says why, in Go's words."""


def unquote(text: str) -> str:
    """What a string literal, quotes and all, stands for. Raises BadLiteral."""
    if text[0] == "`":
        return text[1:-1].replace("\r", "")
    return _unescape(text[1:-1], '"')


def rune(text: str) -> int:
    """What a character literal, quotes and all, stands for. Raises BadLiteral."""
    inner = _unescape(text[1:-1], "'")
    if len(inner) != 1 or (len(text) > 3 and text[1] != "\\"):
        raise BadLiteral(f"malformed character constant: {text}")
    return ord(inner)


def number(text: str) -> tuple[int | float | complex, int | None]:
    """Its value where any type will do, and where an int is wanted (None: it is none). Raises BadLiteral."""
    if text.endswith("i"):
        return _imaginary(text)
    if _INT.match(text):
        whole = _integer(text)
        if not _LEAST <= whole <= _MOST:
            raise BadLiteral(f"integer overflow: {quote(text)}" if whole >= 2**64 else f"{text} overflows int")
        return whole, whole
    value = _float(text)
    if value is None:
        raise BadLiteral(f"illegal number syntax: {quote(text)}")
    if not any(mark in text for mark in ".eEpP"):
        raise BadLiteral(f"integer overflow: {quote(text)}")
    fits = value == value and abs(value) < 2**63 and int(value) == value
    return value, int(value) if fits else None


def quote(text: str, mark: str = '"', *, ascii_only: bool = False) -> str:
    """`text` as Go's strconv.Quote writes it."""
    return mark + "".join(_quoted(char, mark, ascii_only) for char in text) + mark


def printable(char: str) -> bool:
    """Whether Go prints the character as it is: letters, marks, numbers, punctuation, symbols and the space."""
    return char == " " or (char.isprintable() and not char.isspace())


def _quoted(char: str, mark: str, ascii_only: bool) -> str:
    if char in (mark, "\\"):
        return "\\" + char
    code = ord(char)
    if printable(char) and (code < 0x7F or not ascii_only):
        return char
    for letter, meant in _SIMPLE.items():
        if char == meant:
            return "\\" + letter
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as Python carries it
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _unescape(text: str, mark: str) -> str:
    def one(match: re.Match[str]) -> str:
        byte, short, long, octal, char = match.groups()
        if char is not None and char in _SIMPLE:
            return _SIMPLE[char]
        if char == mark:
            return char
        if char is not None or match.lastindex is None:
            raise BadLiteral("invalid syntax")
        code = int(octal, 8) if octal else int(byte or short or long, 16)
        if (octal and code > 255) or code > 0x10FFFF or (not byte and not octal and 0xD800 <= code < 0xE000):
            raise BadLiteral("invalid syntax")
        raw = (byte or octal) and mark == '"' and code >= 0x80
        return chr(0xDC00 + code) if raw else chr(code)  # \xff is a byte, not a character

    found = _ESCAPE.sub(one, text)
    return found.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _integer(text: str) -> int:
    bare = text.lstrip("+-").replace("_", "")
    base = 8 if len(bare) > 1 and bare[0] == "0" and bare[1].isdigit() else 0
    return -int(bare, base) if text[0] == "-" else int(bare, base)


def _float(text: str) -> float | None:
    if _FLOAT.match(text):
        value = float(text.replace("_", ""))
        return None if value in (float("inf"), float("-inf")) else value
    if _HEX_FLOAT.match(text):
        return float.fromhex(text.replace("_", ""))
    return None


def _imaginary(text: str) -> tuple[float | complex, int | None]:
    try:
        value = complex(text[:-1].replace("_", "") + "j")
    except ValueError:
        raise BadLiteral(f"illegal number syntax: {quote(text)}") from None
    whole = int(value.real) if not value.imag and value.real == int(value.real) else None
    return value, whole
