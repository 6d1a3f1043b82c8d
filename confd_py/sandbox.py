"""Jinja2 for templates of others: their loops end, and what they make is of a size that can be held."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jinja2 import Environment, nodes, pass_context, pass_environment
from jinja2.filters import make_attrgetter
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from confd_py import sizes
from confd_py.errors import TemplateFault
from confd_py.gotemplate.rounds import Rounds

# Filters that hand out text marked as markup, which would slip past no check here but mean nothing either.
_HTML_FILTERS = ("e", "escape", "forceescape", "safe", "urlize", "xmlattr", "tojson", "striptags")
_COUNTED, _JOINED, _WEIGHED = "counted rounds", "counted characters", "weighed items"  # no names templates can write
_MOST_BITS = 1 << 16
_SMALL = 64  # characters; there are no more of them than rounds and calls
_HINT = "Does it grow in a loop, or is a number larger than it is meant to be?"


class Sandbox(ImmutableSandboxedEnvironment):
    """What the template asks for is measured before it is made where that can be known, and afterwards anyway."""

    intercepted_binops = frozenset(("*", "**", "+", "-", "/", "//", "%"))

    def __init__(self, rounds: Rounds, **options: Any) -> None:
        super().__init__(**options)
        self._rounds = rounds
        for name in _HTML_FILTERS:
            self.filters.pop(name, None)
        self.globals.pop("lipsum", None)
        self.filters["join"] = self._join
        self.filters["sum"] = self._sum
        for name, function in self.filters.items():
            self.filters[name] = self._measured(name, function)
        self.filters[_JOINED] = pass_context(lambda _, parts: self._concatenated(parts))
        self.filters[_WEIGHED] = pass_context(lambda _, items: self._kept("a list or map", items))
        self.filters[_COUNTED] = pass_context(lambda _, items: rounds.over(items))  # not while it is compiled

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = _filtered(loop.iter, _COUNTED, loop.iter)
        return _Literals().visit(tree)  # type: ignore[no-any-return] # it is what it was

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if _few_digits(left) and _few_digits(right) and operator != "**":
            return self.binop_table[operator](left, right)
        _foreseen(operator, sizes.of_operation(operator, left, right))
        for number in (left, right):  # dividing what has many digits takes longer than anybody waits
            if isinstance(number, int) and number.bit_length() > _MOST_BITS:
                raise TemplateFault(f"the result of {operator} would be of too large a number", hint=_HINT)
        return self._kept(operator, self.binop_table[operator](left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **named: Any) -> Any:
        __self._rounds.spend()  # what calls itself twice goes round without a loop
        name, owner = getattr(__obj, "__name__", "a call"), getattr(__obj, "__self__", None)
        if isinstance(__obj, LoopContext) and args:  # a recursive one
            args = (__self._rounds.over(args[0]), *args[1:])
        if name == "join" and isinstance(owner, str | bytes) and args:
            args = (list(args[0]), *args[1:])
            _foreseen(name, sizes.of_joined(owner, [part for part in args[0] if isinstance(part, str | bytes)]))
        elif owner is not None:
            _foreseen(name, sizes.of_call(name, owner, args, named))
        return __self._kept(name, super().call(__context, __obj, *args, **named))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        formatted = super().wrap_str_format(value)
        if formatted is None:
            return None

        @functools.wraps(formatted)
        def measured(*args: Any, **named: Any) -> str:
            given = args[0] if value.__name__ == "format_map" and args else named
            _foreseen("format", sizes.of_format(value.__self__, args, given))
            return formatted(*args, **named)

        return measured

    # -- filters ------------------------------------------------------------------------------------

    def _measured(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The filter, whose result is looked at; it asks for what it asked for."""
        first = 1 if hasattr(function, "jinja_pass_arg") else 0

        @functools.wraps(function)
        def measured(*args: Any, **named: Any) -> Any:
            if name in sizes.FORESEEN and len(args) > first:
                _foreseen(name, sizes.of_filter(name, args[first], args[first + 1 :], named))
            return self._kept(name, function(*args, **named))

        return measured

    @pass_environment
    def _join(self, environment: Environment, value: Iterable[Any], d: str = "", attribute: Any = None) -> str:
        items = value if attribute is None else map(make_attrgetter(environment, attribute), value)
        parts = [str(item) for item in items]
        _foreseen("join", sizes.of_joined(str(d), parts))
        return str(d).join(parts)

    @pass_environment
    def _sum(self, environment: Environment, iterable: Iterable[Any], attribute: Any = None, start: Any = 0) -> Any:
        items = iterable if attribute is None else map(make_attrgetter(environment, attribute), iterable)
        if isinstance(start, int | float):
            return sum(items, start)
        for item in items:  # lists: each step makes a longer one
            start = self._counted("sum", start + item)
        return start

    def _concatenated(self, parts: list[Any]) -> str:
        texts = [str(part) for part in parts]
        _foreseen("~", sizes.of_joined("", texts))
        return str(self._kept("~", "".join(texts)))

    def _kept(self, what: str, value: Any) -> Any:
        """The value, if it is not too large with all that is inside."""
        if isinstance(value, str) and len(value) <= _SMALL:
            return value
        self._counted(what, value)
        if sizes.weight(value, self._rounds.weights) > sizes.LARGEST:
            told = f"the result of {what} is too large: more than {sizes.LARGEST >> 20} MiB with all that is inside"
            raise TemplateFault(told, hint=_HINT)
        return value

    def _counted(self, what: str, value: Any) -> Any:
        if excess := self._rounds.excess(sizes.size(value)):
            raise TemplateFault(f"the result of {what} is too large: {excess}", hint=_HINT)
        return value


def _few_digits(value: Any) -> bool:
    return type(value) is int and -_MOST_BITS < value < _MOST_BITS


def _foreseen(what: str, size: int) -> None:
    if size > sizes.LARGEST:
        raise TemplateFault(f"the result of {what} would be too large", hint=_HINT)


class _Literals(NodeTransformer):
    """`a ~ b ~ c` passes the filter that counts its characters, and lists and maps the one that weighs them."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes), _JOINED, node)

    def visit_List(self, node: nodes.List) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, _WEIGHED, node) if _holds_values(node.items) else node

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, _WEIGHED, node) if node.ctx == "load" and _holds_values(node.items) else node

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, _WEIGHED, node) if _holds_values([pair.value for pair in node.items]) else node


def _holds_values(items: Sequence[nodes.Node]) -> bool:
    return not all(isinstance(item, nodes.Const) for item in items)


def _filtered(inner: nodes.Node, name: str, place: nodes.Node) -> nodes.Filter:
    node = nodes.Filter(inner, name, [], [], None, None, lineno=place.lineno)
    node.environment = place.environment
    return node
