"""Tokens to a syntax tree: Go's grammar, with its rules about variables, functions and nesting."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import NoReturn, TypeVar

from confd_py.errors import TemplateFault
from confd_py.gotemplate import nodes
from confd_py.gotemplate.lex import Token, tokens
from confd_py.gotemplate.literals import BadLiteral, number, quote, rune, unquote
from confd_py.gotemplate.nodes import Node

_OPERANDS = ("bool", "char", "complex", "dot", "field", "name", "number", "string", "variable")
T = TypeVar("T")
_DEEPEST = 200  # nested parentheses and blocks: far more than a person writes, far less than Python's stack


def parse(source: str, name: str, functions: Container[str]) -> nodes.Tree:
    """The tree of a whole file. Raises TemplateFault, naming the line and column of the first mistake."""
    return _Parser(nodes.Tree(name, source), functions).file()


class _End(Node):
    pass


class _Else(Node):
    pass


class _Parser:
    def __init__(self, tree: nodes.Tree, functions: Container[str]) -> None:
        self._tree = tree
        self._functions = functions
        self._tokens = tokens(tree.source)
        self._ahead: list[Token] = []  # what was put back, the next one last
        self._last = Token("eof", "", 0)
        self._variables = ["$"]
        self._ranges = 0
        self._depth = 0

    def file(self) -> nodes.Tree:
        body: list[Node] = []
        while self._peek().kind != "eof":
            if not self._definition():
                node = self._text_or_action()
                if isinstance(node, _End | _Else):
                    self._fail(f"unexpected {{{{{'end' if isinstance(node, _End) else 'else'}}}}}")
                body.append(node)
        if not _empty(body) or self._tree.name not in self._tree.defined:
            self._add(self._tree.name, tuple(body))
        self._tree.body = self._tree.defined.pop(self._tree.name)
        return self._tree

    # -- tokens -------------------------------------------------------------------------------------

    def _next(self) -> Token:
        if self._ahead:
            self._last = self._ahead.pop()
        else:
            self._last = next(self._tokens, self._last)
        return self._last

    def _back(self, *read: Token) -> None:
        """Put tokens back that were read in this order."""
        self._ahead.extend(reversed(read))

    def _peek(self) -> Token:
        token = self._next()
        self._back(token)
        return token

    def _next_word(self) -> Token:
        token = self._next()
        while token.kind == "space":
            token = self._next()
        return token

    def _peek_word(self) -> Token:
        token = self._next_word()
        self._back(token)
        return token

    def _expect(self, kind: str, context: str) -> Token:
        token = self._next_word()
        if token.kind != kind:
            self._unexpected(token, context)
        return token

    def _unexpected(self, token: Token, context: str) -> NoReturn:
        self._fail(str(token) if token.kind == "error" else f"unexpected {token} in {context}", token.pos)

    def _fail(self, fault: str, pos: int | None = None) -> NoReturn:
        line, column = self._tree.place(self._last.pos if pos is None else pos)
        raise TemplateFault(f"template: {self._tree.name}:{line}:{column}: {fault}")

    # -- what stands between delimiters ---------------------------------------------------------------

    def _definition(self) -> bool:
        """Read a `define` if one comes next."""
        opening = self._next()
        if opening.kind == "open":
            word = self._next_word()
            if word.kind == "keyword" and word.text == "define":
                name = self._name("define clause")
                self._expect("close", "define clause")
                self._add(name, self._own_body("define clause"))
                return True
            self._back(opening, word)
        else:
            self._back(opening)
        return False

    def _own_body(self, context: str) -> tuple[Node, ...]:
        """The body of a template of its own: it shares no variables with what is around it."""
        kept = self._variables, self._ranges
        self._variables, self._ranges = ["$"], 0
        body, last = self._body()
        self._variables, self._ranges = kept
        if not isinstance(last, _End):
            self._fail(f"unexpected {{{{else}}}} in {context}")
        return body

    def _add(self, name: str, body: tuple[Node, ...]) -> None:
        defined = self._tree.defined
        if name in defined and not _empty(defined[name]) and not _empty(body):
            self._fail(f"template: multiple definition of template {quote(name)}")
        if name not in defined or _empty(defined[name]):
            defined[name] = body

    def _body(self) -> tuple[tuple[Node, ...], Node]:
        """Nodes up to an `end` or `else`, and that."""
        found: list[Node] = []
        self._enter()
        while self._peek_word().kind != "eof":
            node = self._text_or_action()
            if isinstance(node, _End | _Else):
                self._depth -= 1
                return tuple(found), node
            found.append(node)
        return self._fail("unexpected EOF")

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._fail(f"nested more than {_DEEPEST} deep")

    def _text_or_action(self) -> Node:
        token = self._next_word()
        if token.kind == "text":
            return nodes.Text(token.pos, token.text)
        if token.kind != "open":
            self._unexpected(token, "input")
        word = self._next_word()
        control = _CONTROLS.get(word.text) if word.kind == "keyword" else None
        if control is not None:
            return control(self, word)
        self._back(word)
        return nodes.Action(word.pos, self._pipeline("command", "close"))

    def _block(self, word: Token) -> Node:
        pos = self._peek_word().pos
        name = self._name("block clause")
        pipe = self._pipeline("block clause", "close")
        self._add(name, self._own_body("block clause"))
        return nodes.Invoke(pos, name, pipe)

    def _invoke(self, word: Token) -> Node:
        pos = self._peek_word().pos
        name = self._name("template clause")
        if self._peek_word().kind == "close":
            self._next_word()
            return nodes.Invoke(pos, name, None)
        return nodes.Invoke(pos, name, self._pipeline("template clause", "close"))

    def _name(self, context: str) -> str:
        token = self._next_word()
        if token.kind != "string":
            self._unexpected(token, context)
        return self._literal(unquote, token)

    def _jump(self, word: Token) -> Node:
        token = self._next_word()
        if token.kind != "close":
            self._unexpected(token, f"{{{{{word.text}}}}}")
        if not self._ranges:
            self._fail(f"{{{{{word.text}}}}} outside {{{{range}}}}")
        return nodes.Break(word.pos) if word.text == "break" else nodes.Continue(word.pos)

    def _end(self, word: Token) -> Node:
        self._expect("close", "end")
        return _End(word.pos)

    def _else(self, word: Token) -> Node:
        following = self._peek_word()
        if not (following.kind == "keyword" and following.text == "if"):
            self._expect("close", "else")
        return _Else(word.pos)

    def _branch(self, word: Token) -> Node:
        known = len(self._variables)
        pipe = self._pipeline(word.text, "close")
        self._ranges += word.text == "range"
        body, last = self._body()
        self._ranges -= word.text == "range"
        otherwise: tuple[Node, ...] | None = None
        if isinstance(last, _Else):
            otherwise = self._otherwise(word)
        del self._variables[known:]
        return nodes.Branch(word.pos, word.text, pipe, body, otherwise)

    def _otherwise(self, word: Token) -> tuple[Node, ...]:
        following = self._peek_word()
        if following.kind == "keyword":  # only an "if" is left behind an "else": it brings the one end there is
            if word.text != "if":
                self._unexpected(following, "input")
            self._enter()
            chained = self._branch(self._next_word())
            self._depth -= 1
            return (chained,)
        body, last = self._body()
        if not isinstance(last, _End):
            self._fail("expected end; found {{else}}")
        return body

    # -- pipelines ------------------------------------------------------------------------------------

    def _pipeline(self, context: str, end: str) -> nodes.Pipe:
        pos = self._peek_word().pos
        declared, assigns = self._declarations(context)
        commands: list[nodes.Command] = []
        while True:
            token = self._next_word()
            if token.kind == end or (token.kind == "sign" and token.text == end):
                self._check(commands, context)
                return nodes.Pipe(pos, tuple(commands), declared, assigns)
            if not self._begins_operand(token):
                self._unexpected(token, context)
            self._back(token)
            commands.append(self._command())

    def _begins_operand(self, token: Token) -> bool:
        nil = token.kind == "keyword" and token.text == "nil"
        return token.kind in _OPERANDS or nil or (token.kind == "sign" and token.text == "(")

    def _check(self, commands: list[nodes.Command], context: str) -> None:
        if not commands:
            self._fail(f"missing value for {context}")
        literals = (nodes.Bool, nodes.Dot, nodes.Nil, nodes.Number, nodes.String)
        for stage, command in enumerate(commands[1:], 2):
            if isinstance(command.words[0], literals):
                self._fail(f"non executable command in pipeline stage {stage}", command.pos)

    def _declarations(self, context: str) -> tuple[tuple[nodes.Variable, ...], bool]:
        found: list[nodes.Variable] = []
        while self._peek_word().kind == "variable":
            variable = self._next_word()
            between = [self._next()]
            if between[0].kind == "space":
                between.append(self._next_word())
            sign = between[-1].text if between[-1].kind == "sign" else ""
            if sign in (":=", "="):
                found.append(self._declare(variable))
                return tuple(found), sign == "="
            if sign != ",":
                self._back(variable, *between)
                break
            found.append(self._declare(variable))
            if context != "range" or len(found) > 1:
                self._fail(f"too many declarations in {context}")
            if self._peek_word().kind != "variable":
                self._fail("range can only initialize variables")
        if found:
            self._fail("range can only initialize variables")
        return (), False

    def _declare(self, token: Token) -> nodes.Variable:
        self._variables.append(token.text)
        return nodes.Variable(token.pos, token.text)

    def _command(self) -> nodes.Command:
        pos = self._peek_word().pos
        words: list[Node] = []
        while True:
            self._peek_word()
            operand = self._operand()
            if operand is not None:
                words.append(operand)
            token = self._next()
            if token.kind == "space":
                continue
            if token.kind == "close" or (token.kind == "sign" and token.text == ")"):
                self._back(token)
            elif not (token.kind == "sign" and token.text == "|"):
                self._unexpected(token, "operand")
            break
        if not words:
            self._fail("empty command")
        return nodes.Command(pos, tuple(words))

    def _operand(self) -> Node | None:
        term = self._term()
        if term is None or self._peek().kind != "field":
            return term
        pos, names = self._peek().pos, []
        while self._peek().kind == "field":
            names.append(self._next().text[1:])
        if isinstance(term, nodes.Field):
            return nodes.Field(pos, (*term.names, *names))
        if isinstance(term, nodes.Variable):
            return nodes.Variable(pos, term.name, (*term.names, *names))
        if isinstance(term, nodes.Function | nodes.Pipe):
            return nodes.Chain(pos, term, tuple(names))
        return self._fail(f"unexpected . after term {quote(str(term))}")

    def _term(self) -> Node | None:
        token = self._next_word()
        if token.kind == "sign" and token.text == "(":
            self._enter()
            pipe = self._pipeline("parenthesized pipeline", ")")
            self._depth -= 1
            return pipe
        if not self._begins_operand(token):
            self._back(token)
            return None
        return self._word(token)

    def _word(self, token: Token) -> Node:
        pos, text = token.pos, token.text
        match token.kind:
            case "name":
                if text not in self._functions:
                    self._fail(f"function {quote(text)} not defined", pos)
                return nodes.Function(pos, text)
            case "variable":
                if text not in self._variables:
                    self._fail(f"undefined variable {quote(text)}", pos)
                return nodes.Variable(pos, text)
            case "field":
                return nodes.Field(pos, (text[1:],))
            case "string":
                return nodes.String(pos, self._literal(unquote, token), text)
            case "char":
                code = self._literal(rune, token)
                return nodes.Number(pos, text, code, code)
            case "number" | "complex":
                return nodes.Number(pos, text, *self._literal(number, token))
            case "bool":
                return nodes.Bool(pos, text == "true")
            case "dot":
                return nodes.Dot(pos)
        return nodes.Nil(pos)

    def _literal(self, read: Callable[[str], T], token: Token) -> T:
        try:
            return read(token.text)
        except BadLiteral as err:
            self._fail(str(err), token.pos)


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
