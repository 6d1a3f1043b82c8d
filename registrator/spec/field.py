"""A place in a compose file: its value, typed, and a way to say what is wrong with it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from registrator.spec.document import Document
from registrator.spec.fault import Fault, Path, shown
from registrator.spec.quantity import duration_s, size_bytes

T = TypeVar("T")

_WORDS = {w: truth for truth, words in ((True, "true yes on y"), (False, "false no off n")) for w in words.split()}


@dataclass
class Findings:
    """All that is wrong, or worth a word, in one file."""

    document: Document
    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    broken: set[Path] = field(default_factory=set)

    def fault(self, path: Path, text: str) -> None:
        """Note a fault; what stands at `path` is not read any further."""
        self.broken.add(path)
        self.faults.append(Fault(path, text, self.document.line(path)))

    def warn(self, text: str) -> None:
        """Note something that stops nothing, once."""
        if text not in self.warnings:
            self.warnings.append(text)


@dataclass(frozen=True)
class Field:
    """A value whose shape the schema has found right; what a reader finds wrong in it becomes a fault.

    A place that is absent, or has a fault already, reads as None (or the default).
    """

    value: Any
    path: Path
    findings: Findings

    def fault(self, text: str) -> None:
        self.findings.fault(self.path, text)

    def __getitem__(self, key: str) -> Field:
        value = self.value.get(key) if isinstance(self.value, dict) else None
        return self._at(key, value)

    def items(self) -> Iterator[Field]:
        """The items of a list; a single value is a list of one."""
        if self.value is None:
            return
        if not isinstance(self.value, list):
            yield self
            return
        for index, value in enumerate(self.value):
            if (place := self._at(index, value)).value is not None:
                yield place

    def named(self) -> Iterator[tuple[str, Field]]:
        """The entries of a mapping."""
        for key in self.value if isinstance(self.value, dict) else ():
            if (*self.path, key) not in self.findings.broken:
                yield key, self._at(key, self.value[key])

    def text(self, default: str = "") -> str:
        return default if self.value is None else str(self.value)

    def truth(self, default: bool = False) -> bool:
        return self._read(lambda v: v if isinstance(v, bool) else _truth(v), default)

    def whole(self, default: int = 0, *, least: int = 0, most: int = 999_999_999) -> int:
        return self._read(lambda v: _within(int(v), least, most), default)

    def number(self, default: float = 0.0, *, most: float = 1e9) -> float:
        return self._read(lambda v: _within(float(v), 0.0, most), default)

    def duration_s(self, default: float = 0.0, *, least_s: float = 0.0) -> float:
        return self._read(lambda v: _long_enough(duration_s(str(v)), least_s), default)

    def size_bytes(self, default: int = 0) -> int:
        return self._read(lambda v: size_bytes(str(v)), default)

    def matching(self, pattern: re.Pattern[str], wanted: str, default: str = "") -> str:
        """A text that `pattern` matches as a whole."""

        def check(value: Any) -> str:
            if pattern.fullmatch(str(value)) is None:
                raise ValueError(f"must be {wanted}")
            return str(value)

        return self._read(check, default)

    def _read(self, convert: Callable[[Any], T], default: T) -> T:
        if self.value is None:
            return default
        try:
            return convert(self.value)
        except (ValueError, OverflowError) as err:
            self.fault(f"{err}; is {shown(self.value)}")
            return default

    def _at(self, key: str | int, value: Any) -> Field:
        path = (*self.path, key)
        return Field(None if path in self.findings.broken else value, path, self.findings)


def _truth(value: str) -> bool:
    if (truth := _WORDS.get(value.lower())) is None:
        raise ValueError("must be true or false")
    return truth


def _within(value: T, least: Any, most: Any) -> T:
    if not (isinstance(value, int | float) and math.isfinite(value) and least <= value <= most):
        raise ValueError(f"must be from {least:g} to {most:g}" if most < 1e6 else f"must be {least:g} or more")
    return value


def _long_enough(seconds: float, least_s: float) -> float:
    if seconds < least_s:
        raise ValueError(f"must be {least_s:g} s or longer")
    return seconds
