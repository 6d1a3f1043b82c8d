"""Functions for templates, under confd's names; one table serves Jinja2 and Go templates."""

from confd_py.functions.environment import environment_expander
from confd_py.functions.table import function_table, twin_functions
from confd_py.gotemplate.values import KV

__all__ = ["KV", "environment_expander", "function_table", "twin_functions"]
