"""What stands between the delimiters: pipelines of commands, their operands, and the variables they declare."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TypeVar

from confd_py.gotemplate import nodes
from confd_py.gotemplate.cursor import Cursor
from confd_py.gotemplate.lex import Token
from confd_py.gotemplate.literals import BadLiteral, number, quote, rune, unquote
from confd_py.gotemplate.nodes import Node

_OPERANDS = ("bool", "char", "complex", "dot", "field", "name", "number", "string", "variable")
T = TypeVar("T")


class PipelineParser(Cursor):
    """Reads pipelines; `variables` are those that may be named here, in the order of their declaration."""

    def __init__(self, tree: nodes.Tree, functions: Container[str]) -> None:
        super().__init__(tree)
        self.variables = ["$"]
        self._functions = functions

    def pipeline(self, context: str, end: str) -> nodes.Pipe:
        """Declarations and commands up to and with `end`. Raises TemplateFault."""
        pos = self.peek_word().pos
        declared, assigns = self._declarations(context)
        commands: list[nodes.Command] = []
        while True:
            token = self.next_word()
            if token.kind == end or (token.kind == "sign" and token.text == end):
                self._check(commands, context)
                return nodes.Pipe(pos, tuple(commands), declared, assigns)
            if not self._begins_operand(token):
                self.unexpected(token, context)
            self.back(token)
            commands.append(self._command())

    def _begins_operand(self, token: Token) -> bool:
        nil = token.kind == "keyword" and token.text == "nil"
        return token.kind in _OPERANDS or nil or (token.kind == "sign" and token.text == "(")

    def _check(self, commands: list[nodes.Command], context: str) -> None:
        if not commands:
            self.fail(f"missing value for {context}")
        literals = (nodes.Bool, nodes.Dot, nodes.Nil, nodes.Number, nodes.String)
        for stage, command in enumerate(commands[1:], 2):
            if isinstance(command.words[0], literals):
                self.fail(f"non executable command in pipeline stage {stage}", command.pos)

    def _declarations(self, context: str) -> tuple[tuple[nodes.Variable, ...], bool]:
        found: list[nodes.Variable] = []
        while self.peek_word().kind == "variable":
            variable = self.next_word()
            between = [self.next()]
            if between[0].kind == "space":
                between.append(self.next_word())
            sign = between[-1].text if between[-1].kind == "sign" else ""
            if sign in (":=", "="):
                found.append(self._declare(variable))
                return tuple(found), sign == "="
            if sign != ",":
                self.back(variable, *between)
                break
            found.append(self._declare(variable))
            if context != "range" or len(found) > 1:
                self.fail(f"too many declarations in {context}")
            if self.peek_word().kind != "variable":
                self.fail("range can only initialize variables")
        if found:
            self.fail("range can only initialize variables")
        return (), False

    def _declare(self, token: Token) -> nodes.Variable:
        self.variables.append(token.text)
        return nodes.Variable(token.pos, token.text)

    def _command(self) -> nodes.Command:
        pos = self.peek_word().pos
        words: list[Node] = []
        while True:
            self.peek_word()
            operand = self._operand()
            if operand is not None:
                words.append(operand)
            token = self.next()
            if token.kind == "space":
                continue
            if token.kind == "close" or (token.kind == "sign" and token.text == ")"):
                self.back(token)
            elif not (token.kind == "sign" and token.text == "|"):
                self.unexpected(token, "operand")
            break
        if not words:
            self.fail("empty command")
        return nodes.Command(pos, tuple(words))

    def _operand(self) -> Node | None:
        term = self._term()
        if term is None or self.peek().kind != "field":
            return term
        pos, names = self.peek().pos, []
        while self.peek().kind == "field":
            names.append(self.next().text[1:])
        if isinstance(term, nodes.Field):
            return nodes.Field(pos, (*term.names, *names))
        if isinstance(term, nodes.Variable):
            return nodes.Variable(pos, term.name, (*term.names, *names))
        if isinstance(term, nodes.Function | nodes.Pipe):
            return nodes.Chain(pos, term, tuple(names))
        return self.fail(f"unexpected . after term {quote(str(term))}")

    def _term(self) -> Node | None:
        token = self.next_word()
        if token.kind == "sign" and token.text == "(":
            self.enter()
            pipe = self.pipeline("parenthesized pipeline", ")")
            self.depth -= 1
            return pipe
        if not self._begins_operand(token):
            self.back(token)
            return None
        return self._word(token)

    def _word(self, token: Token) -> Node:
        pos, text = token.pos, token.text
        match token.kind:
            case "name":
                if text not in self._functions:
                    self.fail(f"function {quote(text)} not defined", pos)
                return nodes.Function(pos, text)
            case "variable":
                if text not in self.variables:
                    self.fail(f"undefined variable {quote(text)}", pos)
                return nodes.Variable(pos, text)
            case "field":
                return nodes.Field(pos, (text[1:],))
            case "string":
                return nodes.String(pos, self.literal(unquote, token), text)
            case "char":
                code = self.literal(rune, token)
                return nodes.Number(pos, text, code, code)
            case "number" | "complex":
                return nodes.Number(pos, text, *self.literal(number, token))
            case "bool":
                return nodes.Bool(pos, text == "true")
            case "dot":
                return nodes.Dot(pos)
        return nodes.Nil(pos)

    def literal(self, read: Callable[[str], T], token: Token) -> T:
        """What `token` says. Raises TemplateFault."""
        try:
            return read(token.text)
        except BadLiteral as err:
            self.fail(str(err), token.pos)
