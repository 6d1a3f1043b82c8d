"""Variables in texts, as the Compose Specification defines them.

    $NAME  ${NAME}                    its value; empty, with a warning, where it is not set
    ${NAME:-word}  ${NAME-word}       word where it is unset or empty / unset
    ${NAME:?word}  ${NAME?word}       an error saying word where it is unset or empty / unset
    ${NAME:+word}  ${NAME+word}       word where it is set and not empty / set, else nothing
    $$                                a dollar sign

A word may hold variables itself; only the branch that is taken is looked at. A dollar sign before anything else stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

MAX_NESTING = 20

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")


class InterpolationFault(ValueError):
    """A text that can't be interpolated; says why in one line."""


def interpolate(text: str, variables: Mapping[str, str], unset: Callable[[str], None] = lambda name: None) -> str:
    """`text` with its variables filled in; `unset` is told each name without value or default.

    Raises InterpolationFault.
    """
    if "$" not in text:
        return text
    return _Reader(text, variables, unset).all()


class _Reader:
    """Reads a text once, from left to right."""

    def __init__(self, text: str, variables: Mapping[str, str], unset: Callable[[str], None]) -> None:
        self._text = text
        self._variables = variables
        self._unset = unset
        self._at = 0

    def all(self) -> str:
        return self._word(0, taken=True)

    def _word(self, depth: int, *, taken: bool) -> str:
        """Up to the end, or up to the closing brace where `depth` > 0. A word not `taken` is only skipped."""
        if depth > MAX_NESTING:
            raise InterpolationFault(f"variables are nested more than {MAX_NESTING} deep")
        begin = self._at
        parts: list[str] = []
        while self._at < len(self._text):
            if depth and self._text[self._at] == "}":
                self._at += 1
                return "".join(parts)
            parts.append(self._variable(depth, taken) if self._text[self._at] == "$" else self._plain(depth))
        if depth:
            raise InterpolationFault(f"{self._text[max(begin - 2, 0) :]!r} has no closing brace")
        return "".join(parts)

    def _plain(self, depth: int) -> str:
        begin = self._at
        while self._at < len(self._text) and self._text[self._at] != "$":
            if depth and self._text[self._at] == "}":
                break
            self._at += 1
        return self._text[begin : self._at]

    def _variable(self, depth: int, taken: bool) -> str:
        self._at += 1
        if self._text.startswith("$", self._at):
            self._at += 1
            return "$"
        if self._text.startswith("{", self._at):
            self._at += 1
            return self._braced(depth, taken)
        if (name := self._name()) is None:
            return "$"
        return self._value(name) if taken else ""

    def _braced(self, depth: int, taken: bool) -> str:
        begin = self._at - 2
        if (name := self._name()) is None:
            raise InterpolationFault(f"{self._text[begin : begin + 20]!r}: no name of a variable follows ${{")
        if self._text.startswith("}", self._at):
            self._at += 1
            return self._value(name) if taken else ""
        if (match := _OPERATOR.match(self._text, self._at)) is None:
            raise InterpolationFault(
                f"{self._text[begin : self._at + 10]!r}: after the name comes }} or one of :- - :? ? :+ +"
            )
        self._at = match.end()
        value = self._variables.get(name)
        there = value is not None and (value != "" or len(match.group()) == 1)
        operator = match.group()[-1]
        word = self._word(depth + 1, taken=taken and there == (operator == "+"))
        if operator == "+":
            return word if there else ""
        if operator == "?" and not there and taken:
            raise InterpolationFault(f"the variable {name} is required" + (f": {word}" if word else ""))
        return (value or "") if there else word

    def _name(self) -> str | None:
        if (match := _NAME.match(self._text, self._at)) is None:
            return None
        self._at = match.end()
        return match.group()

    def _value(self, name: str) -> str:
        value = self._variables.get(name)
        if value is None:
            self._unset(name)
            return ""
        return value
