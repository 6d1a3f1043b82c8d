"""The tokens of a template one after another, with as many put back as the grammar needs, and its complaints."""

from __future__ import annotations

from typing import NoReturn

from confd_py.errors import TemplateFault
from confd_py.gotemplate import nodes
from confd_py.gotemplate.lex import Token, tokens

_DEEPEST = 200  # nested parentheses and blocks: far more than a person writes, far less than Python's stack


class Cursor:
    """Stands before the next token of `tree`."""

    def __init__(self, tree: nodes.Tree) -> None:
        self.tree = tree
        self.depth = 0
        self._tokens = tokens(tree.source)
        self._ahead: list[Token] = []  # what was put back, the next one last
        self._last = Token("eof", "", 0)

    def next(self) -> Token:
        """The next token, spaces among them; at the end the last one again."""
        if self._ahead:
            self._last = self._ahead.pop()
        else:
            self._last = next(self._tokens, self._last)
        return self._last

    def back(self, *read: Token) -> None:
        """Put tokens back that were read in this order."""
        self._ahead.extend(reversed(read))

    def peek(self) -> Token:
        """The token that `next` will give."""
        token = self.next()
        self.back(token)
        return token

    def next_word(self) -> Token:
        """The next token that is no space."""
        token = self.next()
        while token.kind == "space":
            token = self.next()
        return token

    def peek_word(self) -> Token:
        """The token that `next_word` will give."""
        token = self.next_word()
        self.back(token)
        return token

    def expect(self, kind: str, context: str) -> Token:
        """The next word, which has to be of `kind`. Raises TemplateFault."""
        token = self.next_word()
        if token.kind != kind:
            self.unexpected(token, context)
        return token

    def unexpected(self, token: Token, context: str) -> NoReturn:
        """Raises TemplateFault for a token that has no place here."""
        self.fail(str(token) if token.kind == "error" else f"unexpected {token} in {context}", token.pos)

    def fail(self, fault: str, pos: int | None = None) -> NoReturn:
        """Raises TemplateFault at `pos`, or at the last token."""
        line, column = self.tree.place(self._last.pos if pos is None else pos)
        raise TemplateFault(f"template: {self.tree.name}:{line}:{column}: {fault}")

    def enter(self) -> None:
        """One level deeper; whoever calls it counts `depth` down again. Raises TemplateFault."""
        self.depth += 1
        if self.depth > _DEEPEST:
            self.fail(f"nested more than {_DEEPEST} deep")
