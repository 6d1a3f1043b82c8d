"""The functions every Go template has, and field access: what they give and what they refuse, in Go's words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import quote_plus

from confd_py.gotemplate.clock import Location, Month, Time, Weekday
from confd_py.gotemplate.duration import Duration
from confd_py.gotemplate.literals import printable
from confd_py.gotemplate.printf import sprintf
from confd_py.gotemplate.printing import joined, text_of
from confd_py.gotemplate.values import Byte, from_utf8, is_struct, type_name, utf8


class GoError(ValueError):
    """A function of a template failed; the text is Go's."""


class _NilInterface:
    """A nil that stands in a map, on its way through `.a.b`: an error there, while what is absent is none."""


_NIL = _NilInterface()


def field(value: Any, name: str, *arguments: Any) -> Any:
    """`.name` of a struct or map, or what a method gives; None where Go has no value. Raises GoError."""
    if is_struct(value) and name in value._fields:  # first, as loops over keys ask for nothing else
        if arguments:
            raise GoError(f"{name} has arguments but cannot be invoked as function")
        return getattr(value, name)
    if isinstance(value, dict):
        if arguments:
            raise GoError(f"{name} is not a method but has arguments")
        return value.get(name)
    if isinstance(value, Time | Duration | Location | Month | Weekday):
        return _method(value, name, arguments)
    if value is _NIL:
        raise GoError(f"nil pointer evaluating interface {{}}.{name}")
    if value is None:
        return None
    raise GoError(f"can't evaluate field {name} in type {type_name(value)}")


def through(value: Any, name: str) -> Any:
    """The same for a name that another one follows. Raises GoError."""
    found = field(value, name)
    return _NIL if found is None and isinstance(value, dict) and name in value else found


def _method(value: Time | Duration | Location | Month | Weekday, name: str, arguments: tuple[Any, ...]) -> Any:
    method = value.method(name)
    if method is None:
        raise GoError(f"can't evaluate field {name} in type {value.go_type}")
    try:
        return method(*arguments)
    except (TypeError, ValueError, OverflowError, AttributeError) as err:
        raise GoError(f"error calling {name}: {err}") from err


def index(item: Any, *indexes: Any) -> Any:
    """`index x 1 2` is x[1][2]; a key that a map lacks gives None. Raises GoError."""
    if item is None:
        raise GoError("index of untyped nil")
    for at in indexes:
        if isinstance(item, dict):
            item = item.get(_key(at))
        elif isinstance(item, str):
            raw = utf8(item)
            item = Byte(raw[_position(at, len(raw) - 1)])
        elif isinstance(item, list):
            item = item[_position(at, len(item) - 1)]
        elif item is None:
            raise GoError("index of nil pointer")
        else:
            raise GoError(f"can't index item of type {type_name(item)}")
    return item


def slice_(item: Any, *indexes: Any) -> Any:
    """`slice x 1 2` is x[1:2]; strings are cut by bytes. Raises GoError."""
    if item is None:
        raise GoError("slice of untyped nil")
    if len(indexes) > 3:
        raise GoError(f"too many slice indexes: {len(indexes)}")
    if not isinstance(item, str | list):
        raise GoError(f"can't slice item of type {type_name(item)}")
    if len(indexes) == 3 and isinstance(item, str):
        raise GoError("cannot 3-index slice a string")
    whole = utf8(item) if isinstance(item, str) else item
    bounds = [0, len(whole), len(whole)]
    for place, at in enumerate(indexes):
        bounds[place] = _position(at, len(whole))
    for low, high in ((0, 1), (1, 2)):
        if bounds[low] > bounds[high]:
            raise GoError(f"invalid slice index: {bounds[low]} > {bounds[high]}")
    part = whole[bounds[0] : bounds[1]]
    return from_utf8(part) if isinstance(part, bytes) else type(item)(part)


def length(item: Any) -> int:
    """Bytes of a string, entries of a list or map. Raises GoError."""
    if isinstance(item, str):
        return len(utf8(item))
    if isinstance(item, list | dict):
        return len(item)
    raise GoError("len of nil pointer" if item is None else f"len of type {type_name(item)}")


def eq(first: Any, *others: Any) -> bool:
    """Whether `first` is one of `others`. Raises GoError for values of different kinds."""
    if not others:
        raise GoError("missing argument for comparison")
    kind = _kind(first)
    for other in others:
        if first is None or other is None:
            if first is None and other is None:
                return True
            continue
        if kind != _kind(other):
            raise GoError("incompatible types for comparison")
        if not kind and not (is_struct(first) or isinstance(first, Time)):
            if type(first) is not type(other):
                raise GoError(f"non-comparable types {text_of(first)}: {type_name(first)}, {type_name(other)}")
            raise GoError(f"non-comparable type {text_of(other)}: {type_name(other)}")
        if first == other:
            return True
    return False


def ne(first: Any, second: Any) -> bool:
    """The opposite of eq."""
    return not eq(first, second)


def lt(first: Any, second: Any) -> bool:
    """Whether `first` is less. Raises GoError."""
    kind = _kind(first)
    if not kind or not _kind(second):
        raise GoError("invalid type for comparison")
    if kind != _kind(second):
        raise GoError("incompatible types for comparison")
    if kind in ("bool", "complex"):
        raise GoError("invalid type for comparison")
    if kind == "string":
        return utf8(first) < utf8(second)
    return bool(first < second)


def le(first: Any, second: Any) -> bool:
    """Whether `first` is less or equal. Raises GoError."""
    return lt(first, second) or eq(first, second)


def gt(first: Any, second: Any) -> bool:
    """Whether `first` is more. Raises GoError."""
    return not le(first, second)


def ge(first: Any, second: Any) -> bool:
    """Whether `first` is more or equal. Raises GoError."""
    return not lt(first, second)


def html(*values: Any) -> str:
    """The text of the values, safe in HTML."""
    return _printable(values).translate(_HTML)


def js(*values: Any) -> str:
    """The text of the values, safe in a JavaScript string."""
    return "".join(map(_js, _printable(values)))


def urlquery(*values: Any) -> str:
    """The text of the values, safe in the query of a URL."""
    return quote_plus(utf8(_printable(values)), safe="").replace("%7E", "~")


def call(function: Any, *_: Any) -> Any:
    """Go calls a function value; confd hands out none."""
    raise GoError("call of nil" if function is None else f"non-function of type {type_name(function)}")


def iterate(value: Any) -> Iterable[Any]:
    """What `range` goes through: elements of a list, values of a map in the order of its keys. Raises GoError."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [value[key] for key in sorted(value)]
    if value is None:
        return ()
    raise GoError(f"range can't iterate over {text_of(value)}")


def iterate_pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    """The same with index or key. Raises GoError."""
    if isinstance(value, dict):
        return [(key, value[key]) for key in sorted(value)]
    return enumerate(iterate(value))


BUILTINS: dict[str, Callable[..., Any]] = {
    "call": call,
    "eq": eq,
    "ge": ge,
    "gt": gt,
    "html": html,
    "index": index,
    "js": js,
    "le": le,
    "len": length,
    "lt": lt,
    "ne": ne,
    "print": lambda *values: joined(values),
    "printf": sprintf,
    "println": lambda *values: " ".join(map(text_of, values)) + "\n",
    "slice": slice_,
    "urlquery": urlquery,
}

_HTML = str.maketrans({'"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;", "\0": "\ufffd"})
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "bool"),
    (Byte, "int"),
    (int, "int"),
    (float, "float"),
    (complex, "complex"),
    (str, "string"),
)
_JS = {char: "\\" + char for char in "\\'\""} | {char: f"\\u{ord(char):04X}" for char in "<>&="}


def _printable(values: Sequence[Any]) -> str:
    """What the escaping functions print: nothing is no value to them, as to an action."""
    return joined(["<no value>" if value is None else value for value in values])


def _kind(value: Any) -> str:
    return next((name for base, name in _KINDS if isinstance(value, base)), "")


def _js(char: str) -> str:
    if char in _JS:
        return _JS[char]
    code = ord(char)
    return char if code >= 0x20 and code != 0x7F and (code < 0x80 or printable(char)) else f"\\u{code:04X}"


def _key(at: Any) -> str:
    if isinstance(at, str):
        return at
    if at is None:
        raise GoError("value is nil; should be of type string")
    raise GoError(f"value has type {type_name(at)}; should be string")


def _position(at: Any, most: int) -> int:
    if at is None:
        raise GoError("cannot index slice/array with nil")
    if not isinstance(at, int) or isinstance(at, bool):
        raise GoError(f"cannot index slice/array with type {type_name(at)}")
    if not 0 <= at <= most:
        raise GoError(f"index out of range: {at}" if at < 0 or at > most + 1 else "reflect: slice index out of range")
    return at
