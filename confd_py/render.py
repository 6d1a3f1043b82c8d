"""Templates to text. Jinja2, strict about what is undefined, sandboxed, and strict about what a value may contain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.exceptions import TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment

from confd_py.errors import ConfdError, TemplateFault, UnsafeValue
from confd_py.escape import FILTERS, finalizer
from confd_py.functions import JsonCache, KeyFunctions, host_functions
from confd_py.keyspace import KeySpace

# Filters that hand out text marked as markup, which would slip past no check here but mean nothing either.
_HTML_FILTERS = ("e", "escape", "forceescape", "safe", "urlize", "xmlattr", "tojson")


class Renderer:
    """One template, compiled once, over one set of keys that changes under it."""

    def __init__(self, templates: Path, src: str, target: str, keys: KeySpace, environ: Mapping[str, str]) -> None:
        self._src = src
        self._json = JsonCache()
        self._environment = _environment(templates, target)
        self._environment.globals.update(
            {
                **host_functions(environ),
                **KeyFunctions(keys).table(),
                "json": self._json.object,
                "jsonArray": self._json.array,
            }
        )

    def render(self) -> str:
        """The text for the keys as they are now. Raises TemplateFault, UnsafeValue."""
        if self._src.endswith(".tmpl"):
            raise TemplateFault(
                f"{self._src} is a Go template", hint="Templates are Jinja2 (*.j2) here; docs/confd.md shows both."
            )
        try:
            return self._environment.get_template(self._src).render()
        except TemplateNotFound as err:
            raise TemplateFault(f"there is no template {err.name}", hint="src is looked up in templates/.") from err
        except TemplateSyntaxError as err:
            raise TemplateFault(f"{err.name or self._src}:{err.lineno}: {err.message}") from err
        except UnsafeValue as err:
            err.details = (f"in {self._src}:{_line_of(err)}",)
            raise
        except ConfdError as err:
            raise TemplateFault(f"{self._src}:{_line_of(err)}: {err.brief}", hint=err.hint) from err
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as err:
            raise TemplateFault(f"{self._src}:{_line_of(err)}: {err}") from err
        finally:
            self._json.turn()


def _environment(templates: Path, target: str) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(templates),
        undefined=StrictUndefined,
        finalize=finalizer(target),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
    )
    for name in _HTML_FILTERS:
        environment.filters.pop(name, None)
    environment.filters.update(FILTERS)
    return environment


def _line_of(err: BaseException) -> int:
    """The template's line an exception passed last: Jinja2 rewrites tracebacks to the template's own lines."""
    line, trace = 0, err.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(".j2"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
