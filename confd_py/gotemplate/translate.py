"""A syntax tree to Jinja2, in one of two dialects.

`strict` is what runs: every call knows its place in the Go source and holds its arguments to Go's types. `twin` is for
people: the same with confd's functions called by name. Both put out the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from confd_py.gotemplate import nodes
from confd_py.gotemplate.jinja import RESERVED, C, O, finished, operand, plain, quoted
from confd_py.gotemplate.nodes import Node, Tree
from confd_py.gotemplate.ops import Place, Site
from confd_py.gotemplate.signature import GO_NAMES, Function

LOGIC = frozenset(("and", "or", "not"))
_ELEMENTS = {"strings": "string", "kvs": "kv", "ints": "int"}
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


def translate(tree: Tree, functions: Mapping[str, Function], sites: list[Site] | None = None) -> str:
    """Jinja2 source of `tree`; with `sites` the strict dialect, and each site is appended there."""
    return _Writer(tree, functions, sites).file()


class _Writer:
    def __init__(self, tree: Tree, functions: Mapping[str, Function], sites: list[Site] | None) -> None:
        self._tree = tree
        self._functions = functions
        self._sites = sites
        self._taken = set(RESERVED) | set(functions)
        self._macros = {name: self._unique(f"t_{re.sub(r'[^0-9A-Za-z_]', '_', name)}") for name in tree.defined}
        self._scopes: list[dict[str, Expr]] = []
        self._boxed: set[str] = set()
        self._dots: list[Expr] = []
        self._template = tree.name

    def file(self) -> str:
        macros = "".join(self._macro(name, body) for name, body in self._tree.defined.items())
        body = self._whole(self._tree.name, self._tree.body)
        head = f"{O} set dot = dot|default(none) {C}" if self._sites is None and re.search(r"\bdot\b", body) else ""
        return finished(macros + head + body, twin=self._sites is None)

    def _macro(self, name: str, body: Sequence[Node]) -> str:
        return f"{O} macro {self._macros[name]}(dot) {C}{self._whole(name, body)}{O} endmacro {C}"

    def _whole(self, name: str, body: Sequence[Node]) -> str:
        """A template's body: it sees no variables but `$`."""
        self._template = name
        self._boxed = set(_assigned(body))
        self._scopes, self._dots = [{"$": Expr("dot")}], [Expr("dot")]
        return self._nodes(body)

    # -- nodes ----------------------------------------------------------------------------------------

    def _nodes(self, body: Sequence[Node]) -> str:
        return "".join(self._node(node) for node in body)

    def _block(self, body: Sequence[Node], dot: Expr | None = None) -> str:
        """Nodes with variables of their own, and perhaps a dot of their own."""
        self._scopes.append({})
        self._dots.append(dot or self._dots[-1])
        text = self._nodes(body)
        self._dots.pop()
        self._scopes.pop()
        return text

    def _node(self, node: Node) -> str:
        match node:
            case nodes.Text():
                return plain(node.text)
            case nodes.Action():
                value = self._pipe(node.pipe)
                if node.pipe.declared:
                    return self._bind(node.pipe.declared[0], value, assigns=node.pipe.assigns)
                return self._output(value)
            case nodes.Branch(kind="if"):
                return self._if(node)
            case nodes.Branch(kind="with"):
                return self._with(node)
            case nodes.Branch():
                return self._range(node)
            case nodes.Invoke():
                return self._invoke(node)
            case nodes.Break():
                return f"{O} break {C}"
        return f"{O} continue {C}"

    def _output(self, value: Expr) -> str:
        plain = self._sites is not None or value.kind in ("string", "int")
        return f"{{{{ {value.text} }}}}" if plain else f"{{{{ {operand(value.text)}|go }}}}"

    def _if(self, node: nodes.Branch) -> str:
        self._scopes.append({})
        before, value = self._condition(node)
        text = f"{before}{O} if {value.text} {C}{self._block(node.body)}"
        if node.otherwise is not None:
            text += f"{O} else {C}{self._block(node.otherwise)}"
        self._scopes.pop()
        return text + f"{O} endif {C}"

    def _with(self, node: nodes.Branch) -> str:
        self._scopes.append({})
        before, value = self._condition(node)
        dot = Expr(self._unique("dot"), value.kind)
        text = f"{before}{O} set {dot.text} = {value.text} {C}{O} if {dot.text} {C}{self._block(node.body, dot)}"
        if node.otherwise is not None:
            text += f"{O} else {C}{self._block(node.otherwise)}"
        self._scopes.pop()
        return text + f"{O} endif {C}"

    def _condition(self, node: nodes.Branch) -> tuple[str, Expr]:
        value = self._pipe(node.pipe)
        if not node.pipe.declared:
            return "", value
        variable = node.pipe.declared[0]
        return self._bind(variable, value, assigns=node.pipe.assigns), self._variable(variable.name)

    def _range(self, node: nodes.Branch) -> str:
        value = self._pipe(node.pipe)
        element = Expr(self._unique("dot"), _ELEMENTS.get(value.kind, "any"))
        declared = node.pipe.declared
        site = f"({self._site(node, str(node.pipe))})" if self._sites is not None else ""
        source, before, last = operand(value.text), "", ""
        self._scopes.append({})
        if declared and node.otherwise is not None and not node.pipe.assigns:
            whole = self._unique("all")
            before, source = f"{O} set {whole} = {value.text} {C}", whole
            last = "".join(self._bind(variable, Expr(whole, value.kind), assigns=False) for variable in declared)
        otherwise = "" if node.otherwise is None else f"{O} else {C}{last}{self._block(node.otherwise)}"
        self._scopes[-1] = {}
        if len(declared) == 2:
            index = Expr(self._unique("i"))
            head = f"{O} for {index.text}, {element.text} in {source}|pairs{site} {C}"
            head += self._bind(declared[0], index, assigns=node.pipe.assigns)
        else:
            head = f"{O} for {element.text} in {source}|each{site} {C}"
        if declared:
            head += self._bind(declared[-1], element, assigns=node.pipe.assigns)
        body = self._block(node.body, element)
        self._scopes.pop()
        return before + head + body + otherwise + f"{O} endfor {C}"

    def _invoke(self, node: nodes.Invoke) -> str:
        value = self._pipe(node.pipe) if node.pipe else Expr("none")
        before = ""
        if node.pipe and node.pipe.declared:
            before = self._bind(node.pipe.declared[0], value, assigns=node.pipe.assigns)
            value = self._variable(node.pipe.declared[0].name)
        name = self._macros.get(node.name)
        if name is None:
            return self._output(
                self._fail(node, f'template "{node.name}" not defined', f'{{{{template "{node.name}"}}}}')
            )
        return f"{before}{{{{ {name}({value.text})|text }}}}"

    # -- variables ------------------------------------------------------------------------------------

    def _bind(self, variable: nodes.Variable, value: Expr, *, assigns: bool) -> str:
        """A statement that gives `variable` a value; in the range of a loop that survives only in a namespace."""
        name = variable.name
        if assigns:
            known = next((scope[name] for scope in reversed(self._scopes) if name in scope), None)
            if known is None:
                return self._output(self._fail(variable, f"undefined variable: {name}", name))
            return f"{O} set {known.text} = {value.text} {C}"
        own = self._unique(re.sub(r"[^0-9A-Za-z_]", "_", name[1:]) or "root")
        if name in self._boxed:
            self._scopes[-1][name] = Expr(f"{own}.v")
            return f"{O} set {own} = namespace(v={value.text}) {C}"
        self._scopes[-1][name] = Expr(own, value.kind)
        return f"{O} set {own} = {value.text} {C}"

    def _variable(self, name: str) -> Expr:
        return next((scope[name] for scope in reversed(self._scopes) if name in scope), Expr("none"))

    def _unique(self, name: str) -> str:
        wanted = name if name.isidentifier() and not name.startswith("_") else f"v{name}"
        found, number = wanted, 2
        while found in self._taken:
            found, number = f"{wanted}_{number}", number + 1
        self._taken.add(found)
        return found

    # -- values ---------------------------------------------------------------------------------------

    def _pipe(self, pipe: nodes.Pipe) -> Expr:
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
                return self._members(self._dots[-1], first, first.names, arguments, final)
            case nodes.Chain():
                return self._chain(first, arguments, final)
            case nodes.Variable(names=(_, *_)):
                return self._members(self._variable(first.name), first, first.names, arguments, final)
        if arguments or final is not None:
            return self._fail(first, f"can't give argument to non-function {first}", str(first))
        if isinstance(first, nodes.Nil):
            return self._fail(first, "nil is not a command", "nil")
        return self._value(first)

    def _value(self, node: Node, kind: str = "any") -> Expr:
        """An operand that is not called with arguments; `kind` is the type it has to be of."""
        match node:
            case nodes.Bool() | nodes.Number() | nodes.String() | nodes.Nil():
                return self._literal(node, kind)
            case nodes.Dot():
                return self._dots[-1]
            case nodes.Field():
                return self._members(self._dots[-1], node, node.names, (), None)
            case nodes.Variable():
                return self._members(self._variable(node.name), node, node.names, (), None)
            case nodes.Chain():
                return self._chain(node, (), None)
            case nodes.Function():
                return self._call(node, (), None, node)
            case nodes.Pipe():
                if node.declared:
                    return self._fail(node, "a variable cannot be declared here", str(node))
                return self._pipe(node)
        raise AssertionError(node)

    def _literal(self, node: Node, kind: str) -> Expr:
        fault = _misfit(node, kind)
        if fault:
            return self._fail(node, fault, str(node))
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
                    return self._fail(node, "complex numbers are not served", str(node))
                text = repr(number)
                return Expr(f"({text})" if text[0] == "-" else text, "int" if isinstance(number, int) else "float")
        raise AssertionError(node)

    def _call(self, node: nodes.Function, arguments: Sequence[Node], final: Expr | None, whole: Node) -> Expr:
        name = node.name
        last = [] if final is None else [final]
        if name in LOGIC:
            return self._logic(node, [*map(self._value, arguments), *last], whole)
        function = self._functions[name]
        values = [self._value(argument, function.param(place)) for place, argument in enumerate(arguments)] + last
        if self._sites is None:
            return self._twin_call(name, function, values)
        self._sites.append(Site(self._place(whole, str(whole)), tuple(self._place(a, str(a)) for a in arguments)))
        words = ", ".join([str(len(self._sites) - 1), *(value.text for value in values)])
        return Expr(f'"{name}"|call({words})', function.result)

    def _logic(self, node: nodes.Function, values: list[Expr], whole: Node) -> Expr:
        if not values or (node.name == "not" and len(values) != 1):
            wanted = "want 1" if node.name == "not" else "want at least 1"
            return self._fail(whole, f"wrong number of args for {node.name}: {wanted} got {len(values)}", str(whole))
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
        return self._members(self._value(node.operand), node, node.names, arguments, final)

    def _members(
        self, value: Expr, node: Node, names: Sequence[str], arguments: Sequence[Node], final: Expr | None
    ) -> Expr:
        """`.A.B` of a value; the last name may be a method and take arguments."""
        values = [self._value(argument) for argument in arguments] + ([] if final is None else [final])
        for place, name in enumerate(names):
            last = place == len(names) - 1
            value = self._member(value, node, name, values if last else [], "member" if last else "through")
        return value

    def _member(self, value: Expr, node: Node, name: str, values: list[Expr], how: str) -> Expr:
        kind = _FIELDS.get(value.kind, {}).get(name)
        words = [quoted(name), *(v.text for v in values)]
        if self._sites is None:
            if kind and not values:
                return Expr(f"{operand(value.text)}.{name}", kind)
            return Expr(f"{'field' if how == 'member' else how}({', '.join([value.text, *words])})")
        site = self._site(node, str(node))
        return Expr(f"{operand(value.text)}|{how}({', '.join([str(site), *words])})", kind or "any")

    # -- places ---------------------------------------------------------------------------------------

    def _fail(self, node: Node, text: str, shown: str) -> Expr:
        if self._sites is None:
            return Expr(f"fail({quoted(text)})")
        return Expr(f"{quoted(text)}|fail({self._site(node, shown)})")

    def _site(self, node: Node, shown: str) -> int:
        assert self._sites is not None
        self._sites.append(Site(self._place(node, shown)))
        return len(self._sites) - 1

    def _place(self, node: Node, shown: str) -> Place:
        line, column = self._tree.place(node.pos)
        return Place(self._tree.name, line, column, self._template, shown)


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


def _assigned(body: Sequence[Node]) -> list[str]:
    """Names of variables that are given a value after their declaration, anywhere in `body`."""
    found: list[str] = []
    for node in body:
        pipe = getattr(node, "pipe", None)
        if pipe is not None and pipe.assigns:
            found += [variable.name for variable in pipe.declared]
        if isinstance(node, nodes.Branch):
            found += _assigned(node.body) + _assigned(node.otherwise or ())
    return found
