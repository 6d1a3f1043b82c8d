"""Records as JSON: written compactly, read strictly.

A key that the reader does not know is passed over (a newer HECD wrote it); a value of the wrong type is a fault. How a
class is read is worked out once: a load balancer's report has thousands of records in it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

R = TypeVar("R")
Read = Callable[[Any], Any]

_SCALARS = {str: "a string", int: "an integer", bool: "true or false"}


class CodecFault(ValueError):
    """A value does not fit its record; the message names the place, as `traffic.ports[0].target`."""


class _Misfit(Exception):
    """The same on its way out: the place grows from its end."""

    def __init__(self, what: str, at: str = "") -> None:
        self.what, self.at = what, at

    def within(self, step: str) -> _Misfit:
        self.at = step + ("." if self.at and not self.at.startswith("[") else "") + self.at
        return self


def encode(record: Any) -> bytes:
    """`record` (a dataclass) as compact UTF-8 JSON in the order of its fields. Raises ValueError for NaN and infinity,
    which no other reader of JSON takes."""
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_members).encode()


def decode(record: type[R], value: bytes) -> R:
    """The record that `encode` wrote. Raises CodecFault."""
    try:
        data = json.loads(value)
    except ValueError as err:
        raise CodecFault(f"not JSON ({err})") from err
    try:
        result: R = _reader(cast("Hashable", record))(data)
    except _Misfit as fault:
        raise CodecFault(f"{fault.at or 'the record'} {fault.what}") from None
    return result


def _members(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _names(cast("Hashable", type(record)))}


@functools.cache
def _names(record: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(record))


@functools.cache
def _reader(kind: Any) -> Read:
    kind = getattr(kind, "__supertype__", kind)  # a NewType is its base
    if dataclasses.is_dataclass(kind):
        return _record_reader(cast("type[Any]", kind))
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        (inner,) = (_reader(arg) for arg in args if arg is not type(None))
        return lambda data: None if data is None else inner(data)
    if origin is tuple:
        return _list_reader(_reader(args[0]))
    if origin is dict:
        return _object_reader(_reader(args[1]))
    return _number if kind is float else _scalar_reader(kind)


def _record_reader(kind: type[Any]) -> Read:
    hints = typing.get_type_hints(kind)
    fields = [(f.name, _reader(hints[f.name]), _required(f)) for f in dataclasses.fields(kind)]

    def read(data: Any) -> Any:
        if type(data) is not dict:
            raise _other_than("an object", data)
        found: dict[str, Any] = {}
        for name, read_field, required in fields:
            if name in data:
                try:
                    found[name] = read_field(data[name])
                except _Misfit as fault:
                    raise fault.within(name) from None
            elif required:
                raise _Misfit("is missing", name)
        return kind(**found)

    return read


def _list_reader(read_item: Read) -> Read:
    def read(data: Any) -> tuple[Any, ...]:
        if type(data) is not list:
            raise _other_than("a list", data)
        return tuple(_at(f"[{n}]", read_item, value) for n, value in enumerate(data))

    return read


def _object_reader(read_item: Read) -> Read:
    def read(data: Any) -> dict[str, Any]:
        if type(data) is not dict:
            raise _other_than("an object", data)
        found = {}
        for key, value in data.items():
            try:
                found[key] = read_item(value)
            except _Misfit as fault:
                raise fault.within(key) from None
        return found

    return read


def _at(step: str, read: Read, value: Any) -> Any:
    try:
        return read(value)
    except _Misfit as fault:
        raise fault.within(step) from None


def _scalar_reader(kind: type[Any]) -> Read:
    def read(data: Any) -> Any:
        if type(data) is not kind:
            raise _other_than(_SCALARS[kind], data)
        return data

    return read


def _number(data: Any) -> float:
    if type(data) is float or type(data) is int:
        try:
            if math.isfinite(data):
                return float(data)
        except OverflowError:  # an integer that no float can hold
            pass
    raise _other_than("a number", data)


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _other_than(what: str, data: Any) -> _Misfit:
    return _Misfit(f"must be {what}, not {json.dumps(data)[:60]}")
