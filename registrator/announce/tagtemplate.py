"""Go's text/template, as far as -tags has use for it: fields of the container, functions, pipelines, variables, if,
with and range. Pure."""

from __future__ import annotations

import json
import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from registrator.announce.tagwords import FUNCTIONS, REFUSED, shown

_ACTION = re.compile(r'\{\{(-(?=\s))?\s*(/\*.*?\*/|(?:"(?:\\.|[^"\\])*"|`[^`]*`|[^"`])*?)\s*((?<=\s)-)?\}\}', re.DOTALL)
_TOKEN = re.compile(
    r'(?P<gap>\s*)(?:(?P<string>"(?:\\.|[^"\\])*")|(?P<raw>`[^`]*`)|(?P<number>[+-]?\d+(?:\.\d+)?)|(?P<name>\$\w*)'
    r"|(?P<field>\.[A-Za-z_]\w*)|(?P<dot>\.)|(?P<word>[A-Za-z_]\w*)|(?P<mark>:=|[()|,=]))"
)
_CONSTANTS = {"true": True, "false": False, "nil": None}
_BLOCKS = ("if", "with", "range")


class TemplateFault(Exception):
    """The template can't be read, or not be filled in; the text says why."""


@dataclass
class _Scope:
    """What `.` and the variables are; `$` is the whole container."""

    dot: Any
    names: ChainMap[str, Any]

    def within(self, dot: Any, names: dict[str, Any]) -> _Scope:
        """That of a block, with variables of its own."""
        return _Scope(dot, self.names.new_child(names))


_Term = Callable[[_Scope], Any]
_Part = Callable[[_Scope], str]


@lru_cache(maxsize=8)
def parse(text: str) -> Template:
    """Read a template. Raises TemplateFault."""
    return Template(_Reader(text).whole())


class Template:
    """One that was read."""

    def __init__(self, part: _Part) -> None:
        self._part = part

    def filled(self, document: Mapping[str, Any]) -> str:
        """Its text for a container, as Docker's inspection tells it. Raises TemplateFault."""
        return self._part(_Scope(document, ChainMap({"$": document})))


class _Reader:
    """The blocks of a template."""

    def __init__(self, text: str) -> None:
        self._pieces = _pieces(text)

    def whole(self) -> _Part:
        part, ending = self._until()
        if ending:
            raise TemplateFault(f"{{{{{ending}}}}} without a beginning")
        return part

    def _until(self) -> tuple[_Part, str]:
        """What stands up to the {{end}} or {{else …}} of this block, and that word; "" at the end of all."""
        parts: list[_Part] = []
        for action, text in self._pieces:
            word = text.partition(" ")[0] if action else ""
            if word in ("end", "else"):
                return _one(parts), " ".join(text.split())
            if word in _BLOCKS:
                parts.append(self._block(word, text[len(word) :]))
            else:
                parts.append(_printing(text) if action else _saying(text))
        return _one(parts), ""

    def _block(self, word: str, text: str) -> _Part:
        names, term = _Expression(text).declared()
        inside, ending = self._until()
        otherwise = _saying("")
        if ending.startswith("else if "):
            otherwise, ending = self._block("if", ending.removeprefix("else if ")), "end"
        elif ending == "else":
            otherwise, ending = self._until()
        if ending != "end":
            raise TemplateFault(f"{{{{{word}}}}} without its {{{{end}}}}")
        return _range(names, term, inside, otherwise) if word == "range" else _if(word, names, term, inside, otherwise)


def _if(word: str, names: list[str], term: _Term, inside: _Part, otherwise: _Part) -> _Part:
    def part(scope: _Scope) -> str:
        value = term(scope)
        dot = value if word == "with" and value else scope.dot
        inner = scope.within(dot, dict.fromkeys(names[-1:], value))
        return inside(inner) if value else otherwise(inner)

    return part


def _range(names: list[str], term: _Term, inside: _Part, otherwise: _Part) -> _Part:
    def part(scope: _Scope) -> str:
        found = term(scope) or ()
        if not isinstance(found, list | tuple | Mapping):
            raise TemplateFault(f"range: {shown(found)!r} is neither a list nor a map")
        pairs = sorted(found.items()) if isinstance(found, Mapping) else list(enumerate(found))
        if not pairs:
            return otherwise(scope)
        # One name is the element's, of two the first is the key's.
        values = ((pair[1], dict(zip(names, pair[-len(names) :], strict=False))) for pair in pairs)
        return "".join(inside(scope.within(element, known)) for element, known in values)

    return part


def _printing(text: str) -> _Part:
    expression = _Expression(text)
    names, term = expression.declared()

    def part(scope: _Scope) -> str:
        value = term(scope)
        if not names:
            return shown(value)
        known = (found for found in scope.names.maps if expression.assigns and names[0] in found)
        next(known, scope.names.maps[0])[names[0]] = value
        return ""

    return part


def _saying(text: str) -> _Part:
    return lambda _: text


def _one(parts: list[_Part]) -> _Part:
    return lambda scope: "".join(part(scope) for part in parts)


def _pieces(text: str) -> Iterator[tuple[bool, str]]:
    """(whether it is an action, its text); white space beside {{- and -}} is cut off."""
    at, cut = 0, False
    for found in _ACTION.finditer(text):
        before = text[at : found.start()]
        before = before.lstrip() if cut else before
        yield False, before.rstrip() if found[1] else before
        if not found[2].startswith("/*"):
            yield True, found[2].strip()
        at, cut = found.end(), bool(found[3])
    rest = text[at:]
    if "{{" in rest:
        raise TemplateFault("{{ without its }}")
    yield False, rest.lstrip() if cut else rest


class _Expression:
    """What stands in one action."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.assigns = False  # to a variable that is there already
        self._tokens: list[tuple[str, str, bool]] = []  # kind, text, whether white space stands before it
        at, end = 0, len(text.rstrip())
        while at < end:
            found = _TOKEN.match(text, at)
            if not found or not found.lastgroup:
                raise TemplateFault(f"unexpected {text[at:].strip()[:12]!r} in {{{{{text}}}}}")
            self._tokens.append((found.lastgroup, found[found.lastgroup], found["gap"] != ""))
            at = found.end()

    def declared(self) -> tuple[list[str], _Term]:
        """The variables that are declared, and what the pipeline gives."""
        names = [text for kind, text, _ in self._tokens if kind == "name"]
        marks = [text for _, text, _ in self._tokens]
        for count, head in ((1, [*names[:1], ":="]), (1, [*names[:1], "="]), (2, [*names[:1], ",", *names[1:2], ":="])):
            if names and marks[: len(head)] == head:
                self.assigns = head[-1] == "="
                del self._tokens[: len(head)]
                return names[:count], self._all()
        return [], self._all()

    def _all(self) -> _Term:
        term = self._pipeline()
        if self._tokens:
            raise self._unexpected()
        return term

    def _pipeline(self) -> _Term:
        term = self._command(None)
        while self._takes("|"):
            term = self._command(term)
        return term

    def _command(self, piped: _Term | None) -> _Term:
        """A function with what it is given, or a single value."""
        last = [piped] if piped else []
        if self._tokens and self._tokens[0][0] == "word" and self._tokens[0][1] not in _CONSTANTS:
            name = self._tokens.pop(0)[1]
            if name not in FUNCTIONS:
                raise TemplateFault(REFUSED.get(name, f"function {name!r} not defined"))
            given: list[_Term] = []
            while self._tokens and self._tokens[0][1] not in ("|", ")"):
                given.append(self._operand())
            return _called(name, [*given, *last])
        term = self._operand()
        if last or (self._tokens and self._tokens[0][1] not in ("|", ")")):
            raise TemplateFault(f"only a function can be given something, in {{{{{self._text}}}}}")
        return term

    def _operand(self) -> _Term:
        if not self._tokens:
            raise TemplateFault(f"a value is missing in {{{{{self._text}}}}}")
        kind, text, gap = self._tokens.pop(0)
        if text == "(":
            term = self._pipeline()
            if not self._takes(")"):
                raise TemplateFault(f"unclosed ( in {{{{{self._text}}}}}")
        elif kind == "field":
            term = _field(lambda scope: scope.dot, text[1:])
        elif kind == "dot":
            return lambda scope: scope.dot
        elif kind == "name":
            term = _variable(text)
        elif kind in ("string", "raw", "number") or text in _CONSTANTS:
            return _constant(kind, text)
        else:
            self._tokens.insert(0, (kind, text, gap))
            raise self._unexpected()
        while self._tokens and self._tokens[0][0] == "field" and not self._tokens[0][2]:
            term = _field(term, self._tokens.pop(0)[1][1:])
        return term

    def _takes(self, mark: str) -> bool:
        if self._tokens and self._tokens[0][1] == mark:
            self._tokens.pop(0)
            return True
        return False

    def _unexpected(self) -> TemplateFault:
        return TemplateFault(f"unexpected {self._tokens[0][1]!r} in {{{{{self._text}}}}}")


def _field(of: _Term, name: str) -> _Term:
    """The name as Docker's JSON has it, else in whatever case: Go's .ID is JSON's Id. What is not there is nothing."""

    def term(scope: _Scope) -> Any:
        value = of(scope)
        if value is None or isinstance(value, Mapping):
            found = value or {}
            return found.get(name, next((v for k, v in found.items() if k.lower() == name.lower()), None))
        raise TemplateFault(f"{shown(value)!r} has no field {name}")

    return term


def _variable(name: str) -> _Term:
    def term(scope: _Scope) -> Any:
        if name not in scope.names:
            raise TemplateFault(f"undefined variable {name!r}")
        return scope.names[name]

    return term


def _constant(kind: str, text: str) -> _Term:
    if kind == "number":
        value: Any = float(text) if "." in text else int(text)
    elif kind == "raw":
        value = text[1:-1]
    elif kind == "string":
        try:
            value = json.loads(text)
        except ValueError as err:
            raise TemplateFault(f"{text} is no string") from err
    else:
        value = _CONSTANTS[text]
    return lambda _: value


def _called(name: str, given: list[_Term]) -> _Term:
    def term(scope: _Scope) -> Any:
        values = [one(scope) for one in given]
        try:
            return FUNCTIONS[name](*values)
        except (TypeError, ValueError, LookupError, AttributeError, re.error) as err:
            raise TemplateFault(f"{name} {' '.join(map(shown, values))}: {err}") from err

    return term
