"""Go's printf: what a format asks for, which value it is for, and what is printed where it asks for too much."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from confd_py.gotemplate.printing import text_of
from confd_py.gotemplate.values import type_name
from confd_py.gotemplate.verbs import Verb, formatted

_DIRECTIVE = re.compile(
    r"%([-+# 0]*)((?:\[[^\]]*\]?)?(?:\*|[0-9]+)?)(\.(?:\[[^\]]*\]?)?(?:\*|[0-9]*))?(\[[^\]]*\]?)?(.?)", re.DOTALL
)
_INDEX = re.compile(r"\[([0-9]+)\]")
_WIDEST = 1_000_000  # Go's own limit


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
        verb = Verb(
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
        return faults + formatted(verb, self._values[self._at - 1])

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
