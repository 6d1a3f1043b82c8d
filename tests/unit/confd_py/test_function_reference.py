"""docs/functions.md: its examples are true, and it leaves out no function."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

from confd_py.errors import ConfdError
from confd_py.functions import function_table
from confd_py.functions.data import JsonCache, parse_json
from confd_py.keyspace import KeySpace
from confd_py.render import Renderer

REFERENCE = Path(__file__).parents[3] / "docs/functions.md"
KEYS = {
    "/app/name": "web",
    "/app/port": "8080",
    "/svc/web/1": "10.0.0.2:80",
    "/svc/web/2": "10.0.0.1:80",
    "/svc/list": "leaf",
    "/json": '{"id": "h1", "port": 8080, "tags": ["a", "b"]}',
}


def test_examples_are_true(tmp_path: Path) -> None:
    (tmp_path / "part.tmpl").write_text("[{{.}}]")

    def render(name: str, template: str) -> str:
        (tmp_path / name).write_text(template)
        try:
            return Renderer(tmp_path, name, "plain", KeySpace(KEYS), {"HOME": "/root"}).render()
        except ConfdError as err:
            return err.brief

    names = {"go": lambda text: render("t.tmpl", text), "j2": lambda text: render("t.j2", text)}
    result = doctest.testfile(str(REFERENCE), module_relative=False, globs=names)
    assert result.failed == 0
    assert result.attempted > 30


def test_no_function_is_left_out() -> None:
    table = function_table(KeySpace(), {}, JsonCache(parse_json), as_go=True, include=str)
    text = REFERENCE.read_text()
    assert not [name for name in table if not re.search(rf"\b{name}\b", text)]
