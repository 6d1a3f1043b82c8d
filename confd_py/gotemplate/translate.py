"""A syntax tree to Jinja2, in one of two dialects.

`strict` is what runs: every call knows its place in the Go source and holds its arguments to Go's types. `twin` is for
people: the same with confd's functions called by name. Both put out the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from confd_py.gotemplate import nodes
from confd_py.gotemplate.expressions import Expr, Expressions
from confd_py.gotemplate.jinja import RESERVED, C, O, finished, operand, plain
from confd_py.gotemplate.nodes import Node, Tree
from confd_py.gotemplate.ops import Site
from confd_py.gotemplate.signature import Function

_ELEMENTS = {"strings": "string", "kvs": "kv", "ints": "int"}


def translate(tree: Tree, functions: Mapping[str, Function], sites: list[Site] | None = None) -> str:
    """Jinja2 source of `tree`; with `sites` the strict dialect, and each site is appended there."""
    return _Writer(tree, functions, sites).file()


class _Writer(Expressions):
    def __init__(self, tree: Tree, functions: Mapping[str, Function], sites: list[Site] | None) -> None:
        super().__init__(tree, functions, sites)
        self._taken = set(RESERVED) | set(functions)
        self._macros = {name: self._unique(f"t_{re.sub(r'[^0-9A-Za-z_]', '_', name)}") for name in tree.defined}
        self._boxed: set[str] = set()

    def file(self) -> str:
        macros = "".join(self._macro(name, body) for name, body in self.tree.defined.items())
        body = self._whole(self.tree.name, self.tree.body)
        head = f"{O} set dot = dot|default(none) {C}" if self.sites is None and re.search(r"\bdot\b", body) else ""
        return finished(macros + head + body, twin=self.sites is None)

    def _macro(self, name: str, body: Sequence[Node]) -> str:
        return f"{O} macro {self._macros[name]}(dot) {C}{self._whole(name, body)}{O} endmacro {C}"

    def _whole(self, name: str, body: Sequence[Node]) -> str:
        """A template's body: it sees no variables but `$`."""
        self.template = name
        self._boxed = set(_assigned(body))
        self.scopes, self.dots = [{"$": Expr("dot")}], [Expr("dot")]
        return self._nodes(body)

    # -- nodes ----------------------------------------------------------------------------------------

    def _nodes(self, body: Sequence[Node]) -> str:
        return "".join(self._node(node) for node in body)

    def _block(self, body: Sequence[Node], dot: Expr | None = None) -> str:
        """Nodes with variables of their own, and perhaps a dot of their own."""
        self.scopes.append({})
        self.dots.append(dot or self.dots[-1])
        text = self._nodes(body)
        self.dots.pop()
        self.scopes.pop()
        return text

    def _node(self, node: Node) -> str:
        match node:
            case nodes.Text():
                return plain(node.text)
            case nodes.Action():
                value = self.pipe(node.pipe)
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
        plain = self.sites is not None or value.kind in ("string", "int")
        return f"{{{{ {value.text} }}}}" if plain else f"{{{{ {operand(value.text)}|go }}}}"

    def _if(self, node: nodes.Branch) -> str:
        self.scopes.append({})
        before, value = self._condition(node)
        text = f"{before}{O} if {value.text} {C}{self._block(node.body)}"
        if node.otherwise is not None:
            text += f"{O} else {C}{self._block(node.otherwise)}"
        self.scopes.pop()
        return text + f"{O} endif {C}"

    def _with(self, node: nodes.Branch) -> str:
        self.scopes.append({})
        before, value = self._condition(node)
        dot = Expr(self._unique("dot"), value.kind)
        text = f"{before}{O} set {dot.text} = {value.text} {C}{O} if {dot.text} {C}{self._block(node.body, dot)}"
        if node.otherwise is not None:
            text += f"{O} else {C}{self._block(node.otherwise)}"
        self.scopes.pop()
        return text + f"{O} endif {C}"

    def _condition(self, node: nodes.Branch) -> tuple[str, Expr]:
        value = self.pipe(node.pipe)
        if not node.pipe.declared:
            return "", value
        variable = node.pipe.declared[0]
        return self._bind(variable, value, assigns=node.pipe.assigns), self.variable(variable)

    def _range(self, node: nodes.Branch) -> str:
        value = self.pipe(node.pipe)
        element = Expr(self._unique("dot"), _ELEMENTS.get(value.kind, "any"))
        declared = node.pipe.declared
        site = f"({self.site(node, str(node.pipe))})" if self.sites is not None else ""
        source, before, last = operand(value.text), "", ""
        self.scopes.append({})
        jumps = node.otherwise is not None and _jumps(node.body)
        if jumps or (declared and (node.otherwise is not None or node.pipe.assigns)):
            whole = self._unique("all")
            before, source = f"{O} set {whole} = {value.text} {C}", whole
            bound = [self._bind(each, Expr(whole, value.kind), assigns=node.pipe.assigns) for each in declared]
            before, last = (before + "".join(bound), "") if node.pipe.assigns else (before, "".join(bound))
        otherwise = "" if node.otherwise is None else f"{O} else {C}{last}{self._block(node.otherwise)}"
        self.scopes[-1] = {}
        if len(declared) == 2:
            index = Expr(self._unique("i"))
            head = f"{O} for {index.text}, {element.text} in {source}|pairs{site} {C}"
            head += self._bind(declared[0], index, assigns=node.pipe.assigns)
        else:
            head = f"{O} for {element.text} in {source}|each{site} {C}"
        if declared:
            head += self._bind(declared[-1], element, assigns=node.pipe.assigns)
        body = self._block(node.body, element)
        self.scopes.pop()
        if jumps:  # Jinja2 takes a round that ends by break or continue for none, and would go through `else`
            checked = (
                f"{O} for _ in {source}|each{site} {C}{O} break {C}{O} endfor {C}" if self.sites is not None else ""
            )
            before += f"{checked}{O} if {source} {C}"
            return f"{before}{head}{body}{O} endfor {C}{otherwise}{O} endif {C}"
        return before + head + body + otherwise + f"{O} endfor {C}"

    def _invoke(self, node: nodes.Invoke) -> str:
        value = self.pipe(node.pipe) if node.pipe else Expr("none")
        before = ""
        if node.pipe and node.pipe.declared:
            before = self._bind(node.pipe.declared[0], value, assigns=node.pipe.assigns)
            value = self.variable(node.pipe.declared[0])
        name = self._macros.get(node.name)
        if name is None:
            return self._output(
                self.fail(node, f'template "{node.name}" not defined', f'{{{{template "{node.name}"}}}}')
            )
        return f"{before}{{{{ {name}({value.text})|text }}}}"

    # -- variables ------------------------------------------------------------------------------------

    def _bind(self, variable: nodes.Variable, value: Expr, *, assigns: bool) -> str:
        """A statement that gives `variable` a value; in the range of a loop that survives only in a namespace."""
        name = variable.name
        if assigns:
            known = next((scope[name] for scope in reversed(self.scopes) if name in scope), None)
            if known is None:
                return self._output(self.fail(variable, f"undefined variable: {name}", name))
            return f"{O} set {known.text} = {value.text} {C}"
        own = self._unique(re.sub(r"[^0-9A-Za-z_]", "_", name[1:]) or "root")
        if name in self._boxed:
            self.scopes[-1][name] = Expr(f"{own}.v")
            return f"{O} set {own} = namespace(v={value.text}) {C}"
        self.scopes[-1][name] = Expr(own, value.kind)
        return f"{O} set {own} = {value.text} {C}"

    def _unique(self, name: str) -> str:
        wanted = name if name.isidentifier() and not name.startswith("_") else f"v{name}"
        found, number = wanted, 2
        while found in self._taken:
            found, number = f"{wanted}_{number}", number + 1
        self._taken.add(found)
        return found


def _jumps(body: Sequence[Node]) -> bool:
    """Whether a `break` or `continue` in `body` is meant for the loop whose body it is."""
    for node in body:
        if isinstance(node, nodes.Break | nodes.Continue):
            return True
        if isinstance(node, nodes.Branch):
            inner = node.otherwise or () if node.kind == "range" else (*node.body, *(node.otherwise or ()))
            if _jumps(inner):
                return True
    return False


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
