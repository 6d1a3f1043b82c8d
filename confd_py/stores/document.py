"""A YAML or JSON document as paths and texts, printed the way confd prints them."""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
from collections.abc import Iterator
from decimal import Decimal

import yaml

from confd_py.notation import parse_go_int

_PLAIN = "plain"  # the tag of a scalar that neither a tag nor quotes make a string
_YAML = "tag:yaml.org,2002:"
_TRUE = {form for word in ("y", "yes", "true", "on") for form in (word, word.capitalize(), word.upper())}
_FALSE = {form for word in ("n", "no", "false", "off") for form in (word, word.capitalize(), word.upper())}
_NULL = {"", "~", "null", "Null", "NULL"}
_FLOAT = re.compile(r"[-+]?[0-9]*\.?[0-9]+([eE][-+][0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Leaves it to us what a plain scalar is: YAML libraries differ, and confd's ways are to be kept."""

    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _YAML + "str"
        return _YAML + ("seq" if kind is yaml.SequenceNode else "map")


def flatten(text: str) -> dict[str, str]:
    """Paths and texts of the first document; nulls are left out. Raises yaml.YAMLError, ValueError."""
    loader = _Loader(text)
    try:
        root = loader.get_node() if loader.check_node() else None
    finally:
        loader.dispose()
    if root is None or (isinstance(root, yaml.ScalarNode) and _print(root) is None):
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("it has to be a mapping of names to values")
    return dict(_walk(root, "/", ()))


def _walk(node: yaml.Node, path: str, above: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    if id(node) in above:
        raise ValueError(f"{path} contains itself")
    above = (*above, id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, inner in enumerate(node.value):
            yield from _walk(inner, _join(path, str(index)), above)
    elif isinstance(node, yaml.MappingNode):
        for name, inner in _pairs(node).items():
            yield from _walk(inner, _join(path, name), above)
    elif isinstance(node, yaml.ScalarNode) and (text := _print(node)) is not None:
        yield path, text


def _pairs(node: yaml.MappingNode, depth: int = 0) -> dict[str, yaml.Node]:
    """Names and values; what `<<` merges in stands behind the mapping's own."""
    own: dict[str, yaml.Node] = {}
    merged: dict[str, yaml.Node] = {}
    for name, value in node.value:
        if not isinstance(name, yaml.ScalarNode) or depth > 50:
            raise ValueError(f"line {name.start_mark.line + 1}: a name has to be a word")
        if name.value == "<<" and name.tag == _PLAIN:
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(source, yaml.MappingNode):
                    raise ValueError(f"line {name.start_mark.line + 1}: << needs a mapping")
                merged = {**_pairs(source, depth + 1), **merged}
        else:
            own[name.value] = value
    return {**merged, **own}


def _join(path: str, name: str) -> str:
    return "/" + posixpath.normpath(f"/{path}/{name}").lstrip("/")


def _print(node: yaml.ScalarNode) -> str | None:
    text: str = node.value
    if node.tag == _YAML + "binary":
        try:
            return base64.b64decode(text).decode("utf-8", "surrogateescape")
        except binascii.Error as err:
            raise ValueError(f"line {node.start_mark.line + 1}: this is not base64") from err
    typed = (_PLAIN, *(_YAML + name for name in ("bool", "int", "float", "null")))
    return print_plain(text) if node.tag in typed else text


def print_plain(text: str) -> str | None:
    """A plain scalar as confd prints it; None where it prints nothing: null, and numbers beyond int64."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return "true" if text in _TRUE else "false"
    if special := _SPECIAL.fullmatch(text):
        return f"{special[1] or '+'}Inf" if special[2] else "NaN"
    plain = text.replace("_", "") if text[0] in "+-0123456789" else text
    number = parse_go_int(plain)
    if number is not None and number < 1 << 64:
        return str(number) if -(1 << 63) <= number < 1 << 63 else None
    if text[0] in "+-.0123456789" and _FLOAT.fullmatch(plain):
        return _print_float(float(plain))
    return text


def _print_float(number: float) -> str:
    if number in (float("inf"), float("-inf")):
        return f"{number:+}".capitalize()
    text = format(Decimal(repr(number)), "f")
    return text.removesuffix(".0")
