"""What a template function takes and gives, and whether the arguments of a call fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confd_py.gotemplate.builtins import BUILTINS, GoError
from confd_py.gotemplate.values import KVs, Strings, type_name

# The words of signatures, with Go's names for them.
GO_NAMES = {
    "any": "interface {}",
    "bool": "bool",
    "int": "int",
    "kvs": "[]memkv.KVPair",
    "list": "[]interface {}",
    "map": "map[string]interface {}",
    "string": "string",
    "strings": "[]string",
    "time": "time.Time",
}
_EXACT: dict[str, Callable[[Any], bool]] = {
    "any": lambda value: True,
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: type(value) is int,
    "kvs": lambda value: isinstance(value, KVs),
    "list": lambda value: type(value) is list,
    "map": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
    "strings": lambda value: isinstance(value, Strings),
}
# Jinja2 templates write lists themselves, and those know no type.
_LOOSE = {**_EXACT, "list": lambda value: isinstance(value, list | tuple)}
_LOOSE |= {"kvs": _LOOSE["list"], "strings": _LOOSE["list"]}
_ZERO: dict[str, Callable[[], Any]] = {"any": lambda: None, "kvs": KVs, "list": list, "map": dict, "strings": Strings}


class WrongArgument(GoError):
    """Argument number `place` (from 0) is of the wrong type."""

    def __init__(self, place: int, fault: str) -> None:
        super().__init__(fault)
        self.place = place


@dataclass(frozen=True)
class Function:
    """`rest` is the type of further arguments, None if there can be none."""

    name: str
    call: Callable[..., Any]
    params: tuple[str, ...] = ()
    rest: str | None = None
    result: str = "any"

    def param(self, place: int) -> str:
        """The type argument number `place` has to be of; "any" if there should be no such argument."""
        return self.params[place] if place < len(self.params) else self.rest or "any"

    def __call__(self, *values: Any) -> Any:
        """Called by a Jinja2 template. Raises GoError."""
        try:
            return self._invoke(values, _LOOSE)
        except WrongArgument as err:
            raise GoError(f"{self.name}: argument {err.place + 1}: {err}") from err

    def strictly(self, values: Sequence[Any]) -> Any:
        """Called by a Go template: types have to be Go's. Raises WrongArgument, GoError."""
        return self._invoke(values, _EXACT)

    def _invoke(self, values: Sequence[Any], checks: Mapping[str, Callable[[Any], bool]]) -> Any:
        wanted, given = len(self.params), len(values)
        if given < wanted or (given > wanted and self.rest is None):
            least = "at least " if self.rest else ""
            raise GoError(f"wrong number of args for {self.name}: want {least}{wanted} got {given}")
        for place, value in enumerate(values):
            kind = self.params[place] if place < wanted else self.rest or "any"
            if not checks[kind](value):
                values = [*values[:place], _zero(kind, value, place), *values[place + 1 :]]
        return self.call(*values)


def _zero(kind: str, value: Any, place: int) -> Any:
    """What nil stands for where Go has a nil of that type. Raises WrongArgument."""
    if value is None and kind in _ZERO:
        return _ZERO[kind]()
    name = GO_NAMES[kind]
    fault = (
        f"invalid value; expected {name}"
        if value is None
        else f"wrong type for value; expected {name}; got {type_name(value)}"
    )
    raise WrongArgument(place, fault)


def function(name: str, call: Callable[..., Any], signature: str) -> Function:
    """A function from a signature such as `string int -> strings`; `any...` stands for any number of arguments."""
    left, _, result = signature.partition("->")
    words = left.split()
    rest = words.pop().removesuffix("...") if words and words[-1].endswith("...") else None
    return Function(name, call, tuple(words), rest, result.strip() or "any")


_BUILTIN_SIGNATURES = {
    "call": "any any... -> any",
    "eq": "any any... -> bool",
    "ge": "any any -> bool",
    "gt": "any any -> bool",
    "html": "any... -> string",
    "index": "any any... -> any",
    "js": "any... -> string",
    "le": "any any -> bool",
    "len": "any -> int",
    "lt": "any any -> bool",
    "ne": "any any -> bool",
    "print": "any... -> string",
    "printf": "string any... -> string",
    "println": "any... -> string",
    "slice": "any any... -> any",
    "urlquery": "any... -> string",
}
BUILTIN_FUNCTIONS = {name: function(name, BUILTINS[name], text) for name, text in _BUILTIN_SIGNATURES.items()}
