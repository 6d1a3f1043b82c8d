"""Jinja2's syntax as the translator writes it: names, strings, plain text and delimiters."""

from __future__ import annotations

import re

RESERVED = frozenset(
    """
    and or not in is if else elif for endfor endif set endset macro endmacro call endcall block extends include import
    from with recursive true false none True False None loop namespace range dict lipsum cycler joiner caller varargs
    kwargs self super dot each pairs member through fail go
    field json_as_go jsonArray_as_go fromJson_as_go reverse_as_go
    """.split()  # noqa: SIM905 shorter than a hundred quotes
)
# Stand for {% and %} until all is put together: no text contains these noncharacters.
O, C = "\ufdd0", "\ufdd1"  # noqa: E741 they are to be short
_OPENERS = re.compile(r"\{(?=[{%#]|\Z)")


def operand(text: str) -> str:
    """Text that a filter or a dot may follow."""
    return text if re.fullmatch(r"[\w.]+|\(.*\)|\"[^\"]*\"(\|call\([^()]*\))?|[\w.]+\([^()]*\)", text) else f"({text})"


def quoted(text: str) -> str:
    """A Jinja2 string: what is printable stays readable."""
    out = []
    for char in text:
        if char in '"\\':
            out.append("\\" + char)
        elif char.isprintable():
            out.append(char)
        else:
            code = ord(char)
            out.append(f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(out) + '"'


def plain(text: str) -> str:
    """Text outside of delimiters, with what Jinja2 would take for its own set apart."""
    safe = _OPENERS.sub(f"{O} raw {C}{{{O} endraw {C}", text)
    return safe.replace("\r", '{{ "\\r"|text }}')


def finished(text: str, *, twin: bool) -> str:
    """With real delimiters. Twins run where a block's line end and indentation go with it, so some carry a plus."""
    if twin:
        text = re.sub(rf"(?m)^([ \t]+){O}", r"\1{%+", text)
        text = re.sub(rf"(?<! raw ){C}(?=\n)", "+%}", text)
    return text.replace(O, "{%").replace(C, "%}")
