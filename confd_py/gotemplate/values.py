"""Go's values in Python: strings, ints, floats, bools, None for nil, lists and dicts; lists know their type."""

from __future__ import annotations

from typing import Any, NamedTuple


class KV(NamedTuple):
    """A key with its value, as confd's `get` and `gets` give them."""

    Key: str
    Value: str


class SRV(NamedTuple):
    """A record of `lookupSRV`."""

    Target: str
    Port: int
    Priority: int
    Weight: int


class Strings(list[str]):
    """[]string"""


class Ints(list[int]):
    """[]int"""


class KVs(list[KV]):
    """[]memkv.KVPair"""


class KVPairs(KVs):
    """memkv.KVPairs: what `gets` gives; `reverse` does not know it."""


class SRVs(list[SRV]):
    """[]*net.SRV"""


class Byte(int):
    """uint8: a byte of a string."""


class Int64(int):
    """int64: what a time gives."""


_TYPES: dict[type, str] = {
    str: "string",
    bool: "bool",
    int: "int",
    float: "float64",
    complex: "complex128",
    Byte: "uint8",
    Int64: "int64",
    dict: "map[string]interface {}",
    list: "[]interface {}",
    Strings: "[]string",
    Ints: "[]int",
    KVs: "[]memkv.KVPair",
    KVPairs: "memkv.KVPairs",
    SRVs: "[]*net.SRV",
    KV: "memkv.KVPair",
    SRV: "*net.SRV",
}


def type_name(value: Any) -> str:
    """The name of the value's type in Go, "<nil>" of None."""
    if value is None:
        return "<nil>"
    found = _TYPES.get(type(value))
    if found is None:
        kind = next((base for base in type(value).__mro__ if base in _TYPES), None)
        found = getattr(type(value), "go_type", None) or (_TYPES[kind] if kind else type(value).__name__)
    return found


def is_struct(value: Any) -> bool:
    """Whether it is a struct: a named tuple."""
    return isinstance(value, tuple)


def element_is_interface(value: Any) -> bool:
    """Whether elements of this list or map may be of any type."""
    return type(value) in (list, dict)


def utf8(text: str) -> bytes:
    """The bytes Go has for a string; what was no UTF-8 stays as it was."""
    return text.encode("utf-8", "surrogateescape")


def from_utf8(raw: bytes) -> str:
    """The opposite of `utf8`."""
    return raw.decode("utf-8", "surrogateescape")
