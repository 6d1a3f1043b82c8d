"""Records as JSON: written compactly, read strictly.

A key that the reader does not know is passed over (a newer HECD wrote it); a value of the wrong type is a fault.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Hashable
from typing import Any, TypeVar

R = TypeVar("R")


class CodecFault(ValueError):
    """A value does not fit its record; the message names the place, as `traffic.ports[0].target`."""


def encode(record: Any) -> bytes:
    """`record` (a dataclass) as compact UTF-8 JSON in the order of its fields."""
    return json.dumps(dataclasses.asdict(record), separators=(",", ":"), ensure_ascii=False).encode()


def decode(record: type[R], value: bytes) -> R:
    """The record that `encode` wrote. Raises CodecFault."""
    try:
        data = json.loads(value)
    except ValueError as err:
        raise CodecFault(f"not JSON ({err})") from err
    result: R = _read(record, data, "")
    return result


@functools.cache
def _fields(record: type[Any]) -> tuple[tuple[str, Any, bool], ...]:
    hints = typing.get_type_hints(record)
    return tuple(
        (f.name, hints[f.name], f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING)
        for f in dataclasses.fields(record)
    )


def _read(kind: Any, data: Any, at: str) -> Any:
    kind = getattr(kind, "__supertype__", kind)  # a NewType is its base
    if dataclasses.is_dataclass(kind):
        return _read_record(typing.cast("type[Any]", kind), data, at)
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _read_optional(kind, data, at)
    if origin is tuple:
        _expect(isinstance(data, list), at, "a list", data)
        item = typing.get_args(kind)[0]
        return tuple(_read(item, value, f"{at}[{n}]") for n, value in enumerate(data))
    if origin is dict:
        _expect(isinstance(data, dict), at, "an object", data)
        item = typing.get_args(kind)[1]
        return {key: _read(item, value, f"{at}.{key}") for key, value in data.items()}
    return _read_scalar(kind, data, at)


def _read_record(kind: type[Any], data: Any, at: str) -> Any:
    _expect(isinstance(data, dict), at, "an object", data)
    found = {}
    for name, hint, required in _fields(typing.cast("Hashable", kind)):
        where = f"{at}.{name}" if at else name
        if name in data:
            found[name] = _read(hint, data[name], where)
        elif required:
            raise CodecFault(f"{where} is missing")
    return kind(**found)


def _read_optional(kind: Any, data: Any, at: str) -> Any:
    if data is None:
        return None
    (inner,) = (arg for arg in typing.get_args(kind) if arg is not type(None))
    return _read(inner, data, at)


def _read_scalar(kind: type[Any], data: Any, at: str) -> Any:
    if kind is float:
        _expect(
            isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data),
            at,
            "a number",
            data,
        )
        return float(data)
    _expect(
        type(data) is kind,
        at,
        {"str": "a string", "int": "an integer", "bool": "true or false"}[kind.__name__],
        data,
    )
    return data


def _expect(good: bool, at: str, what: str, data: Any) -> None:
    if not good:
        raise CodecFault(f"{at or 'the record'} must be {what}, not {json.dumps(data)[:60]}")
