"""Pipelines, operands and calls of a Go template as Jinja2's expressions, with their types where those are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from confd_py.gotemplate import nodes
from confd_py.gotemplate.jinja import operand, quoted
from confd_py.gotemplate.nodes import Node, Tree
from confd_py.gotemplate.ops import Place, Site
from confd_py.gotemplate.signature import GO_NAMES, Function

LOGIC = frozenset(("and", "or", "not"))
_FIELDS = {"kv": {"Key": "string", "Value": "string"}}
# Functions whose twins among Jinja2's give another value than Go's.
_AS_GO = {
    "json": "json_as_go",
    "jsonArray": "jsonArray_as_go",
    "fromJson": "fromJson_as_go",
    "reverse": "reverse_as_go",
}


@dataclass(frozen=True)
class Expr:
    """Jinja2's text for a value, and its type where that is known."""

    text: str
    kind: str = "any"


class Expressions:
    """Written for one tree; `scopes` and `dots` are the variables and the dot that can be seen at this place."""

    def __init__(self, tree: Tree, functions: Mapping[str, Function], sites: list[Site] | None) -> None:
        self.tree = tree
        self.functions = functions
        self.sites = sites
        self.scopes: list[dict[str, Expr]] = []
        self.dots: list[Expr] = []
        self.template = tree.name

    def variable(self, node: nodes.Variable) -> Expr:
        """The innermost variable of that name; one that is only being declared is there for the parser alone."""
        known = (scope[node.name] for scope in reversed(self.scopes) if node.name in scope)
        return next(known, None) or self.fail(node, f"undefined variable: {node.name}", node.name)

    def pipe(self, pipe: nodes.Pipe) -> Expr:
        """A pipeline: each command gets the value of the one before as its last argument."""
        value: Expr | None = None
        for command in pipe.commands:
            value = self._command(command, value)
        assert value is not None  # the parser refuses empty pipelines
        return value

    def _command(self, command: nodes.Command, final: Expr | None) -> Expr:
        first, arguments = command.words[0], command.words[1:]
        match first:
            case nodes.Function():
                return self._call(first, arguments, final, command)
            case nodes.Field():
                return self._members(self.dots[-1], first, first.names, arguments, final)
            case nodes.Chain():
                return self._chain(first, arguments, final)
            case nodes.Variable(names=(_, *_)):
                return self._members(self.variable(first), first, first.names, arguments, final)
        if arguments or final is not None:
            return self.fail(first, f"can't give argument to non-function {first}", str(first))
        if isinstance(first, nodes.Nil):
            return self.fail(first, "nil is not a command", "nil")
        return self.value(first)

    def value(self, node: Node, kind: str = "any") -> Expr:
        """An operand that is not called with arguments; `kind` is the type it has to be of."""
        match node:
            case nodes.Bool() | nodes.Number() | nodes.String() | nodes.Nil():
                return self._literal(node, kind)
            case nodes.Dot():
                return self.dots[-1]
            case nodes.Field():
                return self._members(self.dots[-1], node, node.names, (), None)
            case nodes.Variable():
                return self._members(self.variable(node), node, node.names, (), None)
            case nodes.Chain():
                return self._chain(node, (), None)
            case nodes.Function():
                return self._call(node, (), None, node)
            case nodes.Pipe():
                if node.declared:
                    return self.fail(node, "a variable cannot be declared here", str(node))
                return self.pipe(node)
        raise AssertionError(node)

    def _literal(self, node: Node, kind: str) -> Expr:
        fault = _misfit(node, kind)
        if fault:
            return self.fail(node, fault, str(node))
        match node:
            case nodes.Bool():
                return Expr(str(node), "bool")
            case nodes.String():
                return Expr(quoted(node.text), "string")
            case nodes.Nil():
                return Expr("none")
            case nodes.Number():
                number = node.as_int if kind == "int" else node.value
                if isinstance(number, complex):
                    return self.fail(node, "complex numbers are not served", str(node))
                text = repr(number)
                return Expr(f"({text})" if text[0] == "-" else text, "int" if isinstance(number, int) else "float")
        raise AssertionError(node)

    def _call(self, node: nodes.Function, arguments: Sequence[Node], final: Expr | None, whole: Node) -> Expr:
        name = node.name
        last = [] if final is None else [final]
        if name in LOGIC:
            return self._logic(node, [*map(self.value, arguments), *last], whole)
        function = self.functions[name]
        values = [self.value(argument, function.param(place)) for place, argument in enumerate(arguments)] + last
        if self.sites is None:
            return self._twin_call(name, function, values)
        self.sites.append(Site(self._place(whole, str(whole)), tuple(self._place(a, str(a)) for a in arguments)))
        words = ", ".join([str(len(self.sites) - 1), *(value.text for value in values)])
        return Expr(f'"{name}"|call({words})', function.result)

    def _logic(self, node: nodes.Function, values: list[Expr], whole: Node) -> Expr:
        if not values or (node.name == "not" and len(values) != 1):
            wanted = "want 1" if node.name == "not" else "want at least 1"
            return self.fail(whole, f"wrong number of args for {node.name}: {wanted} got {len(values)}", str(whole))
        if node.name == "not":
            return Expr(f"(not {operand(values[0].text)})", "bool")
        kinds = {value.kind for value in values}
        return Expr(
            "(" + f" {node.name} ".join(operand(v.text) for v in values) + ")",
            kinds.pop() if len(kinds) == 1 else "any",
        )

    def _twin_call(self, name: str, function: Function, values: list[Expr]) -> Expr:
        words = ", ".join(value.text for value in values)
        if name in ("eq", "ne") and [value.kind for value in values] == ["string", "string"]:
            return Expr(f"({values[0].text} {'==' if name == 'eq' else '!='} {values[1].text})", "bool")
        return Expr(f"{_AS_GO.get(name, name)}({words})", function.result)

    def _chain(self, node: nodes.Chain, arguments: Sequence[Node], final: Expr | None) -> Expr:
        return self._members(self.value(node.operand), node, node.names, arguments, final)

    def _members(
        self, value: Expr, node: Node, names: Sequence[str], arguments: Sequence[Node], final: Expr | None
    ) -> Expr:
        """`.A.B` of a value; the last name may be a method and take arguments."""
        values = [self.value(argument) for argument in arguments] + ([] if final is None else [final])
        for place, name in enumerate(names):
            last = place == len(names) - 1
            value = self._member(value, node, name, values if last else [], "member" if last else "through")
        return value

    def _member(self, value: Expr, node: Node, name: str, values: list[Expr], how: str) -> Expr:
        kind = _FIELDS.get(value.kind, {}).get(name)
        words = [quoted(name), *(v.text for v in values)]
        if self.sites is None:
            if kind and not values:
                return Expr(f"{operand(value.text)}.{name}", kind)
            return Expr(f"{'field' if how == 'member' else how}({', '.join([value.text, *words])})")
        site = self.site(node, str(node))
        return Expr(f"{operand(value.text)}|{how}({', '.join([str(site), *words])})", kind or "any")

    # -- places ---------------------------------------------------------------------------------------

    def fail(self, node: Node, text: str, shown: str) -> Expr:
        """An expression that fails when it is reached, as in Go."""
        if self.sites is None:
            return Expr(f"fail({quoted(text)})")
        return Expr(f"{quoted(text)}|fail({self.site(node, shown)})")

    def site(self, node: Node, shown: str) -> int:
        """The number under which an error finds the place of `node`."""
        assert self.sites is not None
        self.sites.append(Site(self._place(node, shown)))
        return len(self.sites) - 1

    def _place(self, node: Node, shown: str) -> Place:
        line, column = self.tree.place(node.pos)
        return Place(self.tree.name, line, column, self.template, shown)


def _misfit(node: Node, kind: str) -> str:
    """What is wrong with a literal where a value of type `kind` is wanted; "" if nothing."""
    if isinstance(node, nodes.Nil):
        return f"cannot assign nil to {kind}" if kind in ("bool", "int", "string") else ""
    good = {
        "any": True,
        "bool": isinstance(node, nodes.Bool),
        "int": isinstance(node, nodes.Number) and node.as_int is not None,
        "string": isinstance(node, nodes.String),
    }
    if good.get(kind):
        return ""
    if kind in good:
        return f"expected {'integer' if kind == 'int' else kind}; found {node}"
    return f"can't handle {node} for arg of type {GO_NAMES[kind]}"
