"""What a translated Go template calls while it runs: filters that know where in the source they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from jinja2 import pass_context
from jinja2.runtime import Context

from confd_py.errors import ConfdError, TemplateFault
from confd_py.gotemplate import builtins
from confd_py.gotemplate.literals import quote
from confd_py.gotemplate.rounds import Rounds
from confd_py.gotemplate.signature import Function, WrongArgument


@dataclass(frozen=True)
class Place:
    """A place in a Go template; `shown` is the source there as Go quotes it."""

    file: str
    line: int
    column: int
    template: str
    shown: str

    def fault(self, text: str) -> TemplateFault:
        """The error of something that failed here, in Go's words."""
        where = f"template: {self.file}:{self.line}:{self.column}"
        return TemplateFault(f"{where}: executing {quote(self.template)} at <{self.shown}>: {text}")


@dataclass(frozen=True)
class Site:
    """A call: where it stands, and where each of its arguments does."""

    place: Place
    arguments: tuple[Place, ...] = ()


class Ops:
    """Filters ask for the context, though none needs it: Jinja2 would work out the others once, while it compiles.

    `sites` grows with each template that is translated; templates name theirs by number."""

    def __init__(self, functions: Mapping[str, Function], rounds: Rounds) -> None:
        self._functions = functions
        self._rounds = rounds
        self.sites: list[Site] = []

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        names = ("call", "member", "through", "each", "pairs", "fail")
        return {name: getattr(self, name) for name in names}

    def text(self, safe: Callable[[str], str]) -> Callable[[str], str]:
        """The filter that text passes which a template called by another one put out: that is a round, too."""

        def passed(text: str) -> str:
            self._rounds.spend()
            return safe(text)

        return passed

    @pass_context
    def call(self, _: Context, name: str, site: int, *values: Any) -> Any:
        """A function. Raises TemplateFault."""
        try:
            found = self._functions[name].strictly(values)
        except WrongArgument as err:
            where = self.sites[site]
            known = err.place < len(where.arguments)
            raise (where.arguments[err.place] if known else where.place).fault(str(err)) from err
        except (ConfdError, ArithmeticError, LookupError, TypeError, ValueError, OSError) as err:
            text = err.brief if isinstance(err, ConfdError) else str(err)
            counted = text.startswith("wrong number of args")
            raise self.sites[site].place.fault(text if counted else f"error calling {name}: {text}") from err
        if type(found) is str and (excess := self._rounds.excess(len(found))):
            raise self.sites[site].place.fault(f"{name} gives {excess}")
        return found

    @pass_context
    def member(self, _: Context, value: Any, site: int, name: str, *values: Any) -> Any:
        """A field, a map's entry or what a method gives. Raises TemplateFault."""
        try:
            return builtins.field(value, name, *values)
        except builtins.GoError as err:
            raise self.sites[site].place.fault(str(err)) from err

    @pass_context
    def through(self, _: Context, value: Any, site: int, name: str) -> Any:
        """The same for a name that another one follows. Raises TemplateFault."""
        try:
            return builtins.through(value, name)
        except builtins.GoError as err:
            raise self.sites[site].place.fault(str(err)) from err

    @pass_context
    def each(self, _: Context, value: Any, site: int) -> Iterable[Any]:
        """What `range` goes through. Raises TemplateFault."""
        try:
            return self._rounds.over(builtins.iterate(value))
        except builtins.GoError as err:
            raise self.sites[site].place.fault(str(err)) from err

    @pass_context
    def pairs(self, _: Context, value: Any, site: int) -> Iterable[tuple[Any, Any]]:
        """The same with indexes. Raises TemplateFault."""
        try:
            return self._rounds.over(builtins.iterate_pairs(value))
        except builtins.GoError as err:
            raise self.sites[site].place.fault(str(err)) from err

    @pass_context
    def fail(self, _: Context, text: str, site: int) -> NoReturn:
        """What Go finds out only when it gets there. Raises TemplateFault."""
        raise self.sites[site].place.fault(text)
