"""YAML as Compose means it, with the line of everything.

Scalars follow YAML 1.2's core schema: `yes`, `on` and `22:22` are texts (fields that want a boolean take the words,
see field.py), and so is a whole number with a leading zero, which YAML 1.1 and 1.2 read differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from registrator.spec.fault import Fault, Path, shown

MAX_BYTES = 1 << 20
MAX_VALUES = 50_000  # aliases can make a small file unfold without end
MAX_DEPTH = 50
MAX_DIGITS = 30

_CORE = "tag:yaml.org,2002:"
_PLAIN, _MERGE, _TEXT = "plain", f"{_CORE}merge", f"{_CORE}str"
_RESOLVED = (_PLAIN, f"{_CORE}int", f"{_CORE}float", f"{_CORE}bool", f"{_CORE}null")
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_CONSTANTS = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    word: truth for truth, low in ((True, "true"), (False, "false")) for word in (low, low.capitalize(), low.upper())
}


@dataclass
class Document:
    """A file's values, the line of each, and what is wrong with it as YAML."""

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of `path`, or of what it stands in; 0 if unknown."""
        return next((self.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.lines), 0)


def parse(text: str) -> Document:
    """The one document of `text`. Never raises: what is wrong stands in `faults`."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return Document(faults=[Fault((), f"is larger than {MAX_BYTES >> 20} MiB")])
    document = Document()
    try:
        node = _Loader(text).get_single_node()
        if node is not None:
            document.value = _Unfolding(document).value(node, ())
    except yaml.YAMLError as err:
        return Document(faults=[_yaml_fault(err)])
    except _TooMuch as err:
        return Document(faults=[Fault((), str(err))])
    except RecursionError:
        return Document(faults=[Fault((), "is nested too deeply")])
    except (ValueError, OverflowError) as err:  # PyYAML lets an impossible \U escape through to chr()
        return Document(faults=[Fault((), f"is not valid YAML: {err}")])
    return document


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML up to its nodes; values are made here, so that nothing but data can come of a tag."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        """The tag of a node that has none: what a plain scalar is gets decided later, in _implicit."""
        if kind is ScalarNode:
            return (_MERGE if value == "<<" else _PLAIN) if implicit[0] else _TEXT
        return f"{_CORE}seq" if kind is SequenceNode else f"{_CORE}map"


class _TooMuch(Exception):
    """The file unfolds to more than any compose file needs."""


class _Unfolding:
    """Turns nodes into values, following aliases and merge keys."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0
        self._open: list[Node] = []

    def value(self, node: Node, path: Path) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            raise _TooMuch(f"unfolds to more than {MAX_VALUES} values")
        if len(path) > MAX_DEPTH:
            raise _TooMuch("is nested too deeply")
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if any(node is above for above in self._open):
            return self._fault(path, node, "holds itself, through an alias")
        self._open.append(node)
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, path)
            assert isinstance(node, SequenceNode)
            return self._sequence(node, path)
        finally:
            self._open.pop()

    def _sequence(self, node: SequenceNode, path: Path) -> list[Any]:
        self._known_tag(node, "seq", path)
        return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        self._known_tag(node, "map", path)
        own: dict[str, Any] = {}
        merges = [value for key, value in node.value if key.tag == _MERGE]
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                continue
            if not isinstance(key_node, ScalarNode):
                self._fault(path, key_node, "has a key that is not a text")
                continue
            key = str(key_node.value)
            if key in own:
                first = self._document.lines[(*path, key)]
                self._fault((*path, key), key_node, f"stands here twice; first on line {first}")
                continue
            self._document.lines.setdefault((*path, key), key_node.start_mark.line + 1)
            own[key] = self.value(value_node, (*path, key))
        # After the own keys, so that the lines noted are theirs; of several merged mappings the first one wins.
        merged: dict[str, Any] = {}
        for more in (m for node in merges for m in self._merged(node, path)):
            merged = more | merged
        return merged | own

    def _merged(self, node: Node, path: Path) -> Iterator[dict[str, Any]]:
        for source in node.value if isinstance(node, SequenceNode) else [node]:
            if not isinstance(source, MappingNode):
                self._fault(path, source, "<< takes a mapping, or a list of mappings")
                continue
            value = self.value(source, path)
            if isinstance(value, dict):
                yield value

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        text = str(node.value)
        if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text):
            return self._fault(path, node, "holds a character that no text may hold")
        if node.tag == _TEXT:
            return text
        if node.tag in _RESOLVED:
            return _implicit(text)
        return self._fault(path, node, f"the tag {shown(node.tag.replace(_CORE, '!!'))} is not served")

    def _known_tag(self, node: Node, kind: str, path: Path) -> None:
        if node.tag not in (f"{_CORE}{kind}", "!"):
            self._fault(path, node, f"the tag {shown(node.tag.replace(_CORE, '!!'))} is not served")

    def _fault(self, path: Path, node: Node, text: str) -> None:
        self._document.faults.append(Fault(path, text, node.start_mark.line + 1))


def _implicit(text: str) -> Any:
    """What a plain scalar is."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _LEADING_ZERO.fullmatch(text) or len(text) > MAX_DIGITS:
        return text
    if _INT.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _yaml_fault(err: yaml.YAMLError) -> Fault:
    if not isinstance(err, yaml.MarkedYAMLError) or err.problem_mark is None:
        return Fault((), f"is not valid YAML: {' '.join(str(err).split())}")
    mark = err.problem_mark
    context = f", {err.context}" if err.context else ""
    text = " ".join(f"{err.problem}{context}".split())
    return Fault((), f"is not valid YAML: {text} (column {mark.column + 1})", mark.line + 1)
