"""Tokens to a syntax tree: Go's grammar, with its rules about variables, functions and nesting."""

from __future__ import annotations

from collections.abc import Callable, Container

from confd_py.gotemplate import nodes
from confd_py.gotemplate.lex import Token
from confd_py.gotemplate.literals import quote, unquote
from confd_py.gotemplate.nodes import Node
from confd_py.gotemplate.pipeline import PipelineParser


def parse(source: str, name: str, functions: Container[str]) -> nodes.Tree:
    """The tree of a whole file. Raises TemplateFault, naming the line and column of the first mistake."""
    return _Parser(nodes.Tree(name, source), functions).file()


class _End(Node):
    pass


class _Else(Node):
    pass


class _Parser(PipelineParser):
    def __init__(self, tree: nodes.Tree, functions: Container[str]) -> None:
        super().__init__(tree, functions)
        self._ranges = 0

    def file(self) -> nodes.Tree:
        body: list[Node] = []
        while self.peek().kind != "eof":
            if not self._definition():
                node = self._text_or_action()
                if isinstance(node, _End | _Else):
                    self.fail(f"unexpected {{{{{'end' if isinstance(node, _End) else 'else'}}}}}")
                body.append(node)
        if not _empty(body) or self.tree.name not in self.tree.defined:
            self._add(self.tree.name, tuple(body))
        self.tree.body = self.tree.defined.pop(self.tree.name)
        return self.tree

    def _definition(self) -> bool:
        """Read a `define` if one comes next."""
        opening = self.next()
        if opening.kind == "open":
            word = self.next_word()
            if word.kind == "keyword" and word.text == "define":
                name = self._name("define clause")
                self.expect("close", "define clause")
                self._add(name, self._own_body("define clause"))
                return True
            self.back(opening, word)
        else:
            self.back(opening)
        return False

    def _own_body(self, context: str) -> tuple[Node, ...]:
        """The body of a template of its own: it shares no variables with what is around it."""
        kept = self.variables, self._ranges
        self.variables, self._ranges = ["$"], 0
        body, last = self._body()
        self.variables, self._ranges = kept
        if not isinstance(last, _End):
            self.fail(f"unexpected {{{{else}}}} in {context}")
        return body

    def _add(self, name: str, body: tuple[Node, ...]) -> None:
        defined = self.tree.defined
        if name in defined and not _empty(defined[name]) and not _empty(body):
            self.fail(f"template: multiple definition of template {quote(name)}")
        if name not in defined or _empty(defined[name]):
            defined[name] = body

    def _body(self) -> tuple[tuple[Node, ...], Node]:
        """Nodes up to an `end` or `else`, and that."""
        found: list[Node] = []
        self.enter()
        while self.peek_word().kind != "eof":
            node = self._text_or_action()
            if isinstance(node, _End | _Else):
                self.depth -= 1
                return tuple(found), node
            found.append(node)
        return self.fail("unexpected EOF")

    def _text_or_action(self) -> Node:
        token = self.next_word()
        if token.kind == "text":
            return nodes.Text(token.pos, token.text)
        if token.kind != "open":
            self.unexpected(token, "input")
        word = self.next_word()
        control = _CONTROLS.get(word.text) if word.kind == "keyword" else None
        if control is not None:
            return control(self, word)
        self.back(word)
        return nodes.Action(word.pos, self.pipeline("command", "close"))

    def _block(self, word: Token) -> Node:
        pos = self.peek_word().pos
        name = self._name("block clause")
        pipe = self.pipeline("block clause", "close")
        self._add(name, self._own_body("block clause"))
        return nodes.Invoke(pos, name, pipe)

    def _invoke(self, word: Token) -> Node:
        pos = self.peek_word().pos
        name = self._name("template clause")
        if self.peek_word().kind == "close":
            self.next_word()
            return nodes.Invoke(pos, name, None)
        return nodes.Invoke(pos, name, self.pipeline("template clause", "close"))

    def _name(self, context: str) -> str:
        token = self.next_word()
        if token.kind != "string":
            self.unexpected(token, context)
        return self.literal(unquote, token)

    def _jump(self, word: Token) -> Node:
        token = self.next_word()
        if token.kind != "close":
            self.unexpected(token, f"{{{{{word.text}}}}}")
        if not self._ranges:
            self.fail(f"{{{{{word.text}}}}} outside {{{{range}}}}")
        return nodes.Break(word.pos) if word.text == "break" else nodes.Continue(word.pos)

    def _end(self, word: Token) -> Node:
        self.expect("close", "end")
        return _End(word.pos)

    def _else(self, word: Token) -> Node:
        following = self.peek_word()
        if not (following.kind == "keyword" and following.text == "if"):
            self.expect("close", "else")
        return _Else(word.pos)

    def _branch(self, word: Token) -> Node:
        known = len(self.variables)
        pipe = self.pipeline(word.text, "close")
        self._ranges += word.text == "range"
        body, last = self._body()
        self._ranges -= word.text == "range"
        otherwise: tuple[Node, ...] | None = None
        if isinstance(last, _Else):
            otherwise = self._otherwise(word)
        del self.variables[known:]
        return nodes.Branch(word.pos, word.text, pipe, body, otherwise)

    def _otherwise(self, word: Token) -> tuple[Node, ...]:
        following = self.peek_word()
        if following.kind == "keyword":  # only an "if" is left behind an "else": it brings the one end there is
            if word.text != "if":
                self.unexpected(following, "input")
            self.enter()
            chained = self._branch(self.next_word())
            self.depth -= 1
            return (chained,)
        body, last = self._body()
        if not isinstance(last, _End):
            self.fail("expected end; found {{else}}")
        return body


def _empty(body: tuple[Node, ...] | list[Node]) -> bool:
    return all(isinstance(node, nodes.Text) and not node.text.strip() for node in body)


_CONTROLS: dict[str, Callable[[_Parser, Token], Node]] = {
    "block": _Parser._block,
    "break": _Parser._jump,
    "continue": _Parser._jump,
    "else": _Parser._else,
    "end": _Parser._end,
    "if": _Parser._branch,
    "range": _Parser._branch,
    "template": _Parser._invoke,
    "with": _Parser._branch,
}
