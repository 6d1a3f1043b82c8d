"""A Go template as tokens. Trim markers and comments are dealt with here; the parser never sees them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from confd_py.gotemplate.literals import quote

SPACES = " \t\r\n"
KEYWORDS = frozenset(("block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with"))
_OPEN, _CLOSE = "{{", "}}"
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?|0[oO][0-7_]*(?:\.[0-7_]*)?|0[bB][01_]*(?:\.[01_]*)?"
    r"|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)i?"
)
_SIGNS = {"=": "=", "|": "|", "(": "(", ")": ")"}
_QUOTES = {'"': "unterminated quoted string", "'": "unterminated character constant"}


@dataclass(frozen=True)
class Token:
    """kind: text, open, close, space, string, char, number, complex, name, keyword, field, variable, dot, bool, sign,
    end of file ("eof"), or "error", whose `text` says what is wrong.
    """

    kind: str
    text: str
    pos: int

    def __str__(self) -> str:
        """As Go shows it when it did not expect it."""
        if self.kind == "eof":
            return "EOF"
        if self.kind == "error":
            return self.text
        if self.kind == "keyword":
            return f"<{self.text}>"
        return quote(self.text[:10]) + "..." if len(self.text) > 10 else quote(self.text)


def tokens(source: str) -> Iterator[Token]:
    """All tokens; the last is "eof" or "error"."""
    pos = 0
    while True:
        found = source.find(_OPEN, pos)
        end = len(source) if found < 0 else found
        trims = found >= 0 and _trims_left(source, found + 2)
        text = source[pos:end].rstrip(SPACES) if trims else source[pos:end]
        if text:
            yield Token("text", text, pos)
        if found < 0:
            yield Token("eof", "", len(source))
            return
        inside = found + 2 + (2 if trims else 0)
        if source.startswith("/*", inside):
            after = _comment(source, inside)
            if isinstance(after, Token):
                yield after
                return
            pos = after
            continue
        yield Token("open", _OPEN, found)
        action = _Action(source, inside)
        yield from action.tokens()
        if action.failed:
            return
        pos = action.pos


def alphanumeric(char: str) -> bool:
    """Whether Go takes the character for part of a name."""
    return char == "_" or char.isalpha() or unicodedata.category(char) == "Nd" if char else False


def _trims_left(source: str, at: int) -> bool:
    return source.startswith("-", at) and source[at + 1 : at + 2] in tuple(SPACES)


def _closes(source: str, at: int) -> int:
    """How long the closing delimiter at `at` is, trim marker included; 0: there is none."""
    if source.startswith(_CLOSE, at):
        return 2
    return 4 if source[at : at + 1] in tuple(SPACES) and source.startswith("-" + _CLOSE, at + 1) else 0


def _after_close(source: str, at: int, length: int) -> int:
    after = at + length
    if length == 4:
        after = len(source) - len(source[after:].lstrip(SPACES))
    return after


def _comment(source: str, at: int) -> int | Token:
    end = source.find("*/", at + 2)
    if end < 0:
        return Token("error", "unclosed comment", at)
    length = _closes(source, end + 2)
    if not length:
        return Token("error", "comment ends before closing delimiter", at)
    return _after_close(source, end + 2, length)


class _Action:
    """What stands between one pair of delimiters."""

    def __init__(self, source: str, pos: int) -> None:
        self._source = source
        self._depth = 0
        self.pos = pos  # behind the last token; behind the closing delimiter at the end
        self.failed = False

    def tokens(self) -> Iterator[Token]:
        while True:
            token = self._next()
            yield token
            if token.kind in ("close", "error"):
                self.failed = token.kind == "error"
                return

    def _next(self) -> Token:
        source, start = self._source, self.pos
        length = _closes(source, start)
        if length:
            if self._depth:
                return self._error("unclosed left paren")
            self.pos = _after_close(source, start, length)
            return Token("close", _CLOSE, start + length - 2)
        char = source[start : start + 1]
        if not char:
            return self._error("unclosed action")
        if char in SPACES:
            return self._space()
        if char in _QUOTES:
            return self._quoted(char)
        if char == "`":
            end = source.find("`", start + 1)
            return self._error("unterminated raw quoted string") if end < 0 else self._token("string", end + 1)
        if char in ".$" and not (
            char == "." and source[start + 1 : start + 2].isascii() and source[start + 1 : start + 2].isdigit()
        ):
            return self._word(start + 1, "field" if char == "." else "variable")
        if char in "+-." or (char.isascii() and char.isdigit()):
            return self._number()
        if alphanumeric(char):
            return self._word(start, "name")
        return self._sign(char)

    def _space(self) -> Token:
        end = self.pos
        while self._source[end : end + 1] in tuple(SPACES) and not (end > self.pos and _closes(self._source, end) == 4):
            end += 1
        return self._token("space", end)

    def _quoted(self, mark: str) -> Token:
        at = self.pos + 1
        while at < len(self._source) and self._source[at] not in (mark, "\n"):
            at += 2 if self._source[at] == "\\" and self._source[at + 1 : at + 2] != "\n" else 1
        if self._source[at : at + 1] != mark:
            return self._error(_QUOTES[mark])
        return self._token("string" if mark == '"' else "char", at + 1)

    def _number(self) -> Token:
        match = _NUMBER.match(self._source, self.pos)
        assert match is not None  # every part is optional
        end, kind = match.end(), "number"
        if self._source[end : end + 1] in ("+", "-"):
            second = _NUMBER.match(self._source, end)
            assert second is not None
            end, kind = second.end(), "complex"
        bad = alphanumeric(self._source[end : end + 1]) or (kind == "complex" and self._source[end - 1] != "i")
        if bad:
            return self._error(f"bad number syntax: {quote(self._source[self.pos : end + 1])}")
        return self._token(kind, end)

    def _word(self, at: int, kind: str) -> Token:
        end = at
        while alphanumeric(self._source[end : end + 1]):
            end += 1
        if not self._ends_word(end):
            return self._error(f"bad character {_unicode(self._source[end])}")
        if kind == "name":
            word = self._source[at:end]
            kind = "keyword" if word in KEYWORDS else "bool" if word in ("true", "false") else "name"
        elif kind == "field" and end == at:
            kind = "dot"
        return self._token(kind, end)

    def _ends_word(self, at: int) -> bool:
        return self._source[at : at + 1] in ("", *SPACES, *".,|:)(") or self._source.startswith(_CLOSE, at)

    def _sign(self, char: str) -> Token:
        if char == ":":
            declares = self._source.startswith(":=", self.pos)
            return self._token("sign", self.pos + 2) if declares else self._error("expected :=")
        if char in "()":
            self._depth += 1 if char == "(" else -1
            if self._depth < 0:
                return self._error(f"unexpected right paren {_unicode(char)}")
        elif not (char.isascii() and char.isprintable()):
            return self._error(f"unrecognized character in action: {_unicode(char)}")
        return self._token("sign", self.pos + 1)

    def _token(self, kind: str, end: int) -> Token:
        token = Token(kind, self._source[self.pos : end], self.pos)
        self.pos = end
        return token

    def _error(self, text: str) -> Token:
        return Token("error", text, self.pos)


def _unicode(char: str) -> str:
    code = f"U+{ord(char):04X}"
    return f"{code} '{char}'" if char.isprintable() else code
