"""A Go template without files: rendered once, with Go's own functions only."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment

from confd_py.errors import TemplateFault
from confd_py.gotemplate.expressions import LOGIC
from confd_py.gotemplate.ops import Ops
from confd_py.gotemplate.parse import parse
from confd_py.gotemplate.printing import shown
from confd_py.gotemplate.rounds import Rounds
from confd_py.gotemplate.signature import BUILTIN_FUNCTIONS
from confd_py.gotemplate.translate import translate


def render_text(text: str, name: str, dot: Any) -> str:
    """The text of template `text`, called `name` in errors, with `dot` as its data. Raises TemplateFault."""
    ops = Ops(BUILTIN_FUNCTIONS, Rounds())
    tree = parse(text, name, BUILTIN_FUNCTIONS.keys() | LOGIC)
    environment = Environment(finalize=shown, optimized=False, keep_trailing_newline=True)  # noqa: S701 no HTML
    environment.add_extension("jinja2.ext.loopcontrols")
    environment.filters = {**ops.filters(), "text": str}
    try:
        return environment.from_string(translate(tree, BUILTIN_FUNCTIONS, ops.sites)).render(dot=dot)
    except (SyntaxError, RecursionError) as err:
        raise TemplateFault(f"template: {name}:1:0: blocks are nested too deep") from err
