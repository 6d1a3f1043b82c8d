"""Go's text/template: read, translated to Jinja2, and the values and functions it needs while it runs."""

from confd_py.gotemplate.builtins import iterate, iterate_pairs
from confd_py.gotemplate.expressions import LOGIC
from confd_py.gotemplate.ops import Ops
from confd_py.gotemplate.parse import parse
from confd_py.gotemplate.printing import shown
from confd_py.gotemplate.signature import Function, function
from confd_py.gotemplate.translate import translate

__all__ = ["LOGIC", "Function", "Ops", "function", "iterate", "iterate_pairs", "parse", "shown", "translate"]
