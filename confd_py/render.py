"""Templates to text: Jinja2 (*.j2), and Go's text/template (everything else), which is translated to Jinja2 on load."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    Template,
    TemplateError,
    TemplateSyntaxError,
)
from jinja2.exceptions import TemplateNotFound

from confd_py.errors import TemplateFault, UnsafeValue
from confd_py.escape import FILTERS, Safe, finalizer
from confd_py.functions import function_table, twin_functions
from confd_py.functions.data import JsonCache, mapping_in_jinja, parse_json, parse_json_as_go
from confd_py.gotemplate import LOGIC, Ops, function, iterate, iterate_pairs, parse, shown, translate
from confd_py.gotemplate.rounds import Rounds
from confd_py.keyspace import KeySpace
from confd_py.sandbox import Sandbox

# Names of functions, and what other templates come by, inside of a tag: nginx has `include`s of its own.
_WAITING = re.compile(r"\{[{%](?:(?![%}]\}).)*?(?:lookup|include|import|extends)", re.DOTALL)
_MOST_KEYS_TOLD = 3
_DEEPEST_INCLUDE = 10
_LONGEST = 16 << 20  # bytes of a template
_FAILURES = (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)


class Renderer:
    """One template and what it includes, compiled once, over one set of keys that changes under it."""

    def __init__(
        self,
        templates: Path,
        src: str,
        target: str,
        keys: KeySpace,
        environ: Mapping[str, str],
        named_at: str = "",
    ) -> None:
        """`named_at` is where `src` is written, FILE:LINE, for whoever has to mend it."""
        self._folder = templates
        self._src = src
        self._target = target
        self._keys = keys
        self._environ = environ
        self._named_at = named_at
        self._including: list[str] = []
        self._rounds = Rounds()
        self._stale = False
        self._asks: bool | None = None
        self._begin_anew()

    def forget(self) -> None:
        """A template file changed: the next rendering compiles everything again. One may be under way in a thread."""
        self._stale, self._asks = True, None

    def _begin_anew(self) -> None:
        self._stale = False
        self._json, self._go_json = JsonCache(parse_json), JsonCache(parse_json_as_go)
        self._jinja = _jinja_environment(self._folder, self._target, self._rounds)
        self._jinja.globals.update({**self._functions(self._json, as_go=False), **twin_functions()})
        self._jinja.globals["dict"] = mapping_in_jinja
        escapes = {name: function(name, escape, "any -> string") for name, escape in FILTERS.items()}
        self._go_functions = {**self._functions(self._go_json, as_go=True), **escapes}
        self._ops = Ops(self._go_functions, self._rounds)
        self._go = _go_environment(self._target, self._ops)
        for environment in (self._jinja, self._go):
            environment.concat = self._rounds.joined  # type: ignore[method-assign] # an attribute, by its documentation
        self._compiled: dict[str, Template] = {}

    @property
    def asks_network(self) -> bool:
        """Whether rendering may wait for name servers: for itself, or in what it includes."""
        if self._asks is None:
            self._check_there()
            self._asks = _WAITING.search(_read(self._folder / self._src)) is not None
        return self._asks

    def render(self) -> str:
        """The text for the keys as they are now. Raises TemplateFault, UnsafeValue."""
        if self._stale:
            self._begin_anew()
        self._including = [self._src]
        self._rounds.begin()
        try:
            return self._render(self._src, None)
        except TemplateFault:
            self._check_there()
            raise
        finally:
            self._json.turn()
            self._go_json.turn()

    def give_up(self) -> None:
        """Have a rendering that is under way in another thread end soon."""
        self._rounds.stop()

    def _check_there(self) -> None:
        if not (template := self._folder / self._src).exists():
            place = f"{self._named_at}: " if self._named_at else ""
            raise TemplateFault(f"{place}there is no template {template}", hint="src is looked up in templates/.")

    def _functions(self, json: JsonCache, *, as_go: bool) -> dict[str, Any]:
        return function_table(self._keys, self._environ, json, as_go=as_go, include=self._include)

    def _include(self, name: str, *data: Any) -> str:
        """confd's `include`: another file below templates/, with its dot."""
        if name in self._including:
            raise TemplateFault(f"include cycle detected: {name} is already being processed")
        if len(self._including) > _DEEPEST_INCLUDE:
            raise TemplateFault(f"maximum include depth ({_DEEPEST_INCLUDE}) exceeded")
        if not (self._folder / name).resolve().is_relative_to(self._folder.resolve()):
            raise TemplateFault(f'include path "{name}" is outside template directory')
        self._including.append(name)
        try:
            return Safe(self._render(name, data[0] if data else None))
        finally:
            self._including.pop()

    def _render(self, name: str, dot: Any) -> str:
        try:
            return self._template(name).render(dot=dot)
        except TemplateNotFound as err:
            raise TemplateFault(f"there is no template {err.name}", hint="src is looked up in templates/.") from err
        except TemplateSyntaxError as err:
            raise TemplateFault(f"{err.name or name}:{err.lineno}: {err.message}") from err
        except UnsafeValue as err:
            err.details = err.details or (_where(name, err), *self._whence(err.value))
            raise
        except RecursionError as err:
            raise TemplateFault(f"{name}: templates call one another without end") from err
        except TemplateFault as err:
            raise (err if err.brief.startswith("template: ") else _at(name, err, err.brief, err.hint)) from err
        except _FAILURES as err:
            raise _at(name, err, str(err)) from err

    def _whence(self, value: str) -> tuple[str, ...]:
        """Where in the store a value is from: the first keys that hold it."""
        exactly = [key for key, held in self._keys.below("/") if held == value]
        keys = exactly or (key for key, held in self._keys.below("/") if value and value in held)
        return tuple(f"from {key}" for key in islice(keys, _MOST_KEYS_TOLD))

    def _template(self, name: str) -> Template:
        if name.endswith(".j2"):
            _refuse_irregular(self._folder / name)
            return self._jinja.get_template(name)
        if name not in self._compiled:
            self._compiled[name] = self._compile(name)
        return self._compiled[name]

    def _compile(self, name: str) -> Template:
        """A Go template. Raises TemplateFault."""
        source = _read(self._folder / name)
        tree = parse(source, Path(name).name, self._go_functions.keys() | LOGIC)
        try:
            return self._go.from_string(translate(tree, self._go_functions, self._ops.sites))
        except (SyntaxError, RecursionError, MemoryError) as err:
            raise TemplateFault(f"template: {tree.name}:1:0: blocks are nested too deep") from err


def _read(path: Path) -> str:
    """A template. Raises TemplateFault."""
    _refuse_irregular(path)
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as err:
        fault = f"template {path} cannot be read: {err.strerror}"
        raise TemplateFault(fault, hint="src is looked up in templates/.") from err


def _refuse_irregular(path: Path) -> None:
    """A pipe would be waited for, a device never ends, and a log is no template. Raises TemplateFault."""
    if path.is_file() and path.stat().st_size > _LONGEST:
        raise TemplateFault(f"template {path} is longer than {_LONGEST >> 20} MiB", hint="Is it the file you meant?")
    if path.exists() and not path.is_file() and not path.is_dir():
        raise TemplateFault(f"template {path} is no regular file", hint="Pipes and devices are not read.")


def _at(name: str, err: Exception, text: str, hint: str = "") -> TemplateFault:
    line = _line_of(err)
    return TemplateFault(f"{name}:{line}: {text}" if line else f"{name}: {text}", hint=hint)


def _where(name: str, err: Exception) -> str:
    line = _line_of(err)
    return f"in {name}:{line}" if line else f"in {name}"


def _jinja_environment(templates: Path, target: str, rounds: Rounds) -> Environment:
    environment = Sandbox(
        rounds,
        loader=FileSystemLoader(templates),
        undefined=StrictUndefined,
        finalize=finalizer(target),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
    )
    environment.filters.update({**FILTERS, "go": shown, "text": Safe, "each": iterate, "pairs": iterate_pairs})
    return environment


def _go_environment(target: str, ops: Ops) -> Environment:
    """Runs what the translator wrote, and nothing else: its filters are the only way to a value's inside."""
    environment = Environment(  # noqa: S701 no HTML is made here
        undefined=StrictUndefined,
        finalize=_go_finalizer(target),
        optimized=False,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.loopcontrols"],
    )
    environment.filters = {**ops.filters(), "text": ops.text(Safe), "default": environment.filters["default"]}
    return environment


def _go_finalizer(target: str) -> Callable[[Any], Any]:
    check = finalizer(target)
    if check is None:
        return shown
    return lambda value: check(value if isinstance(value, Safe) else shown(value))


def _line_of(err: BaseException) -> int:
    """The template's line an exception passed last: Jinja2 rewrites tracebacks to the template's own lines."""
    line, trace = 0, err.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(".j2"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
