"""hecd-runtime doctor."""

from __future__ import annotations

import os
from dataclasses import dataclass

import click

from runtime.cli import session
from runtime.doctor import rootless
from runtime.doctor.leftovers import leftovers
from runtime.doctor.need import Need
from runtime.doctor.needs import needs
from runtime.errors import RuntimeFault


@dataclass(frozen=True)
class Line:
    """One line of what it says."""

    state: str  # "ok" | "missing" | "advice" | "left" | "taken away"
    what: str
    hint: str = ""


@click.command()
@click.option("--repair", is_flag=True, help="Take away what crashes left.")
@session.output_option
@click.pass_context
def doctor(ctx: click.Context, repair: bool, output: str) -> None:
    """Say what this host lacks to run containers, and what crashes left on it. 1 if there is anything."""
    lines = [_line(need) for need in rootless.needs()] if os.geteuid() != 0 else []
    if any(line.state == "missing" for line in lines) or not _entered(ctx, lines):
        _print(lines, output)
        ctx.exit(1)
    paths, bridge = session.place(ctx)
    lines += [_line(need) for need in needs(paths)]
    found = leftovers(paths, bridge)
    before = [leftover.what for leftover in found]
    if repair and found:
        with session.opened(ctx):  # which sweeps
            found = leftovers(paths, bridge)
            for leftover in found:
                _take(leftover.take)
        found = leftovers(paths, bridge)
    left = {leftover.what for leftover in found}
    lines += [Line("left" if what in left or not repair else "taken away", what) for what in before]
    lines += [Line("left", what) for what in sorted(left - set(before))]
    _print(lines, output)
    ctx.exit(1 if any(line.state in ("missing", "left") for line in lines) else 0)


def _entered(ctx: click.Context, lines: list[Line]) -> bool:
    """Whether this process is root by now, if only in namespaces of a user's own; else `lines` says why not."""
    try:
        session.enter(ctx)
    except RuntimeFault as err:
        hint = "Has this kernel user namespaces, and may everybody make some? sysctl -a | grep userns"
        lines.append(Line("missing", "\n            ".join((err.brief, *err.details)), hint))
        return False
    return True


def _line(need: Need) -> Line:
    state = "ok" if need.fine else "missing" if need.vital else "advice"
    return Line(state, need.what, "" if need.fine else need.hint)


def _take(take: object) -> None:
    try:
        take()  # type: ignore[operator]
    except (RuntimeFault, OSError) as err:
        click.echo(f"hecd-runtime: {err}", err=True)


def _print(lines: list[Line], output: str) -> None:
    if output == "json":
        session.print_rows([], lines, output)
        return
    for line in lines:
        click.echo(f"{line.state:10}  {line.what}" + (f"\n{'':12}{line.hint}" if line.hint else ""))
    if any(line.state == "left" for line in lines):
        click.echo("`hecd-runtime doctor --repair` takes away what is left.")
