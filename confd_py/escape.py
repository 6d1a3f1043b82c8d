"""Filters that make a value safe for the file it goes into, and the check every value passes without them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from typing import Any

from confd_py.errors import TemplateFault, UnsafeValue

# C0, DEL, C1, the two Unicode line ends, and lone surrogates (bytes that were not UTF-8).
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_HAPROXY_WORD = re.compile(r"[^\s\"'\\#\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*")
_NGINX_WORD = re.compile(r"[^\s\"'\\#;{}$\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*")


class Safe(str):
    """Text a filter has already made safe; any operation on it gives a plain string again."""


def haproxy_token(value: Any) -> Safe:
    """`value` as one word of haproxy.cfg. Raises UnsafeValue if it would be anything else, or empty."""
    return _word(str(value), _HAPROXY_WORD, "haproxy")


def nginx_token(value: Any) -> Safe:
    """`value` as one word of nginx.conf. Raises UnsafeValue if it would be anything else, or empty."""
    return _word(str(value), _NGINX_WORD, "nginx")


def haproxy_quote(value: Any) -> Safe:
    """`value` as one quoted word: spaces are kept, nothing is expanded. Raises UnsafeValue for control characters."""
    return Safe("'" + _no_control(str(value), "haproxy").replace("'", "'\\''") + "'")


def shell_quote(value: Any) -> Safe:
    """`value` as one word of a POSIX shell. Raises UnsafeValue for control characters."""
    return Safe(shlex.quote(_no_control(str(value), "shell")))


def json_quote(value: Any) -> Safe:
    """`value` as a JSON string on one line."""
    return Safe(json.dumps(str(value)))


FILTERS: dict[str, Callable[[Any], Safe]] = {
    "haproxy_token": haproxy_token,
    "haproxy_quote": haproxy_quote,
    "nginx_token": nginx_token,
    "shell_quote": shell_quote,
    "json_quote": json_quote,
}


def finalizer(target: str) -> Callable[[Any], Any] | None:
    """What every `{{ expression }}` of a file in format `target` goes through; None for plain files."""
    pattern = {"haproxy": _HAPROXY_WORD, "nginx": _NGINX_WORD}.get(target)
    if pattern is None:
        return None

    def check(value: Any) -> Any:
        if isinstance(value, Safe):
            return _no_control(value, target)
        if value is None:
            raise TemplateFault("an expression gave null", hint="Test for it, or give a default.")
        text = str(value)
        if not pattern.fullmatch(text):
            raise UnsafeValue(text, target)
        return text

    return check


def _word(text: str, pattern: re.Pattern[str], target: str) -> Safe:
    if not text or not pattern.fullmatch(text):
        raise UnsafeValue(text, target)
    return Safe(text)


def _no_control(text: str, target: str) -> str:
    if _CONTROL.search(text):
        raise UnsafeValue(text, target)
    return text
