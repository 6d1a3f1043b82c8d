"""`confd-py convert`: the Jinja2 twin of a Go template."""

from __future__ import annotations

from confd_py.errors import ConfdError
from confd_py.functions import function_table
from confd_py.functions.data import JsonCache, parse_json_as_go
from confd_py.gotemplate import LOGIC, parse, translate
from confd_py.keyspace import KeySpace


def convert(text: str, name: str) -> str:
    """A Jinja2 template that puts out the same bytes as the Go template `text`. Raises TemplateFault."""

    def include(*_: object) -> str:
        raise ConfdError("only a rendering includes")

    table = function_table(KeySpace(), {}, JsonCache(parse_json_as_go), as_go=True, include=include)
    return translate(parse(text, name, table.keys() | LOGIC), table)
