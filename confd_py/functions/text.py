"""Functions on strings: confd's own and the fork's."""

from __future__ import annotations

import base64
import binascii
import hashlib
import posixpath
import re
from functools import lru_cache
from typing import Any

import re2

from confd_py import sizes
from confd_py.gotemplate.builtins import GoError
from confd_py.gotemplate.literals import quote
from confd_py.gotemplate.values import KVs, Strings, from_utf8, utf8
from confd_py.notation import parse_go_bool

_INT = re.compile(r"[+-]?[0-9]+\Z")
_NO_UTF8 = re.compile("[\ud800-\udfff]")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_MOST_STEPS = 1 << 28  # states of an expression times characters of a text: RE2 may go through all of them, for seconds


def atoi(text: str) -> int:
    """A decimal number that fits 64 bits."""
    if not _INT.match(text):
        raise GoError(f"strconv.Atoi: parsing {quote(text)}: invalid syntax")
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise GoError(f"strconv.Atoi: parsing {quote(text)}: value out of range")
    return value


def parse_bool(text: str) -> bool:
    """1, t, true and 0, f, false, in small or capital letters."""
    value = parse_go_bool(text)
    if value is None:
        raise GoError(f"strconv.ParseBool: parsing {quote(text)}: invalid syntax")
    return value


def to_upper(text: str) -> str:
    """Capital letters, one for one: `ß` has none."""
    return "".join(char.upper() if len(char.upper()) == 1 else char for char in readable(text))


def to_lower(text: str) -> str:
    """Small letters, one for one."""
    return "".join(char.lower()[0] for char in readable(text))


def split(text: str, separator: str) -> Strings:
    """The parts between separators; without one the characters."""
    if (text.count(separator) if separator else len(text)) >= sizes.MOST_PARTS:
        raise GoError(f"split: more than {sizes.MOST_PARTS} parts")
    return Strings(text.split(separator) if separator else list(text))


def join(parts: list[Any], separator: str) -> str:
    """The parts with `separator` between them."""
    texts = [str(part) for part in parts]
    _bounded("join", sizes.of_joined(separator, texts))
    return separator.join(texts)


def replace(text: str, old: str, new: str, count: int) -> str:
    """`old` replaced `count` times, always if `count` is negative."""
    times = text.count(old) if count < 0 else min(count, text.count(old))
    _bounded("replace", len(text) + times * len(new))
    return text.replace(old, new, count)


def base64_decode(text: str) -> str:
    """Standard base64 with padding; line ends do not count."""
    bare = text.replace("\r", "").replace("\n", "")
    try:
        return from_utf8(base64.b64decode(bare, validate=True))
    except (binascii.Error, ValueError):
        match = _BASE64.match(bare)
        at = match.end() if match else 0
        raise GoError(f"illegal base64 data at input byte {min(at, max(len(bare) - 1, 0))}") from None


def base64_encode(text: str) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(utf8(text)).decode()


def base(path: str) -> str:
    """The last part of a path."""
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"


def folder(path: str) -> str:
    """All but the last part of a path, as short as it can be written."""
    shortest = posixpath.normpath(posixpath.dirname(path) or ".")
    return "/" + shortest.lstrip("/") if shortest.startswith("/") else shortest


def sort_by_length(items: list[str]) -> Strings:
    """Shortest first; the order among the equally long stays."""
    return Strings(sorted(items, key=lambda item: len(utf8(item))))


def sort_kv_by_length(items: list[Any]) -> KVs:
    """Pairs with the shortest key first."""
    return KVs(sorted(items, key=lambda pair: len(utf8(pair.Key))))


def indent(spaces: int, text: str) -> str:
    """Every line moved to the right; nothing stays nothing."""
    _bounded("indent", max(spaces, 0) * (text.count("\n") + 1))
    pad = " " * max(spaces, 0)
    return pad + text.replace("\n", "\n" + pad) if text else ""


def quoted(text: str) -> str:
    """In double quotes, as a Go string."""
    return quote(text)


def squote(text: str) -> str:
    """In single quotes, those inside doubled."""
    return "'" + text.replace("'", "''") + "'"


def repeat(count: int, text: str) -> str:
    """`text`, `count` times; refuses more than 16 MiB."""
    _bounded("repeat", len(text) * count)
    return text * max(count, 0)


def nospace(text: str) -> str:
    """Without any white space."""
    return "".join(char for char in readable(text) if not char.isspace() or "\x1c" <= char <= "\x1f")


def snakecase(text: str) -> str:
    """its_words_in_small_letters."""
    return "_".join(map(to_lower, _words(text)))


def kebabcase(text: str) -> str:
    """its-words-in-small-letters."""
    return "-".join(map(to_lower, _words(text)))


def camelcase(text: str) -> str:
    """itsWordsBeginLarge, but for the first."""
    words = [to_lower(word) for word in _words(text)]
    return "".join(words[:1] + [to_upper(word[0]) + word[1:] for word in words[1:]])


def sha256sum(text: str) -> str:
    """The SHA-256 digest in hexadecimal."""
    return hashlib.sha256(utf8(text)).hexdigest()


def regex_match(pattern: str, text: str) -> bool:
    """Whether RE2's `pattern` is found in `text`."""
    return bool(_compiled(pattern, text).search(readable(text)))


def regex_find(pattern: str, text: str) -> str:
    """What RE2's `pattern` finds first in `text`, or nothing."""
    found = _compiled(pattern, text).search(readable(text))
    return str(found.group(0)) if found else ""


def regex_replace_all(pattern: str, text: str, replacement: str) -> str:
    """`text` with every match replaced; `$1` and `${name}` stand for groups."""
    compiled, text, replacement = _compiled(pattern, text), readable(text), readable(replacement)
    parts, last, left = [], 0, sizes.LARGEST
    for match in compiled.finditer(text):
        begin, end = match.span()
        parts.append(text[last:begin])
        if end > last or begin == 0:  # as Go: an empty match right behind another one is none
            parts.append(_expanded(replacement, match, compiled))
        last = end
        left -= len(parts[-1])
        _bounded("regexReplaceAll", sizes.LARGEST - left)
    return "".join(parts) + text[last:]


_GROUP = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))")


def _expanded(replacement: str, match: Any, compiled: Any) -> str:
    def one(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name is None:
            return "$"
        if name.isdigit():
            return (match.group(int(name)) or "") if int(name) <= compiled.groups else ""
        return (match.group(name) or "") if name in compiled.groupindex else ""

    return _GROUP.sub(one, replacement)


def readable(text: str) -> str:
    """What Go makes of a text that it reads by characters: bytes that are no UTF-8 become U+FFFD each."""
    return _NO_UTF8.sub("\ufffd", text)


def _bounded(name: str, size: int) -> None:
    if size > sizes.LARGEST:
        raise GoError(f"{name}: the result would be longer than {sizes.LARGEST >> 20} MiB")


def _compiled(pattern: str, text: str) -> Any:
    """The expression, if it is not too much for `text`: nobody can interrupt it."""
    compiled = _parsed(pattern)
    if compiled.programsize * len(text) > _MOST_STEPS:
        fault = f"the expression has {compiled.programsize:,} states, too many for a text of {len(text):,} characters"
        raise GoError(fault)
    return compiled


@lru_cache(maxsize=256)
def _parsed(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(readable(pattern), options)
    except re2.error as err:
        fault = err.args[0].decode() if isinstance(err.args[0], bytes) else str(err)
        raise GoError(f"error parsing regexp: {fault}") from None


def _words(text: str) -> list[str]:
    """Parts between `_`, `-` and spaces, and before capital letters: HTTPServer is HTTP and Server."""
    return [word for part in re.split(r"[_\- ]", text) if part for word in _humps(part)]


def _humps(part: str) -> list[str]:
    begins = [
        at
        for at, char in enumerate(part)
        if at == 0 or (char.isupper() and (part[at + 1 : at + 2].islower() or not part[at - 1].isupper()))
    ]
    return [part[begin:end] for begin, end in zip(begins, [*begins[1:], len(part)], strict=True)]
