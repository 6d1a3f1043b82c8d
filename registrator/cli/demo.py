"""hecd demo."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import click

from registrator.demo.run import Demo, Load
from registrator.demo.story import Story
from registrator.errors import HecdError


@click.command()
@click.option("--releases", type=click.IntRange(1, 100), default=1, show_default=True, help="How many to roll.")
@click.option("--kept-rate", type=click.IntRange(1), default=500, show_default=True, help="Requests/s, keep-alive.")
@click.option(
    "--fresh-rate", type=click.IntRange(1), default=200, show_default=True, help="Requests/s, new connections."
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="How to print the result.")
def demo(releases: int, kept_rate: int, fresh_rate: int, output: str) -> None:
    """See it work, on this machine: everything is started, and a release is rolled while requests arrive.

    Ends with code 1 if any request failed, other than those inside the killed container that can't be repeated.
    Leaves nothing behind.
    """
    if os.geteuid() != 0:
        raise HecdError("the demo must run as root: it makes containers and networks", hint="sudo hecd demo")
    begun = time.monotonic()

    def say(line: str) -> None:
        click.echo(f"{time.monotonic() - begun:5.1f} s  {line}", err=True)

    try:
        story = Demo(say, Load(kept_rate=kept_rate, fresh_rate=fresh_rate), releases).run(lambda s: _print(s, output))
    except KeyboardInterrupt:
        say("interrupted; all of it is gone again")
        raise SystemExit(130) from None
    failed = _failed(story)
    if failed or story.reloaded:
        raise HecdError(
            f"{failed} requests failed and HAProxy reloaded {story.reloaded} times; none and never was promised",
            details=tuple(_kinds(story)),
        )


def _failed(story: Story) -> int:
    return int(story.report["failed"]) - len(story.inside_killed())


def _print(story: Story, output: str) -> None:
    report, inside = story.report, len(story.inside_killed())
    if output == "json":
        steps = [{"step": s.name, "seconds": s.seconds, "remark": s.remark} for s in story.steps]
        click.echo(json.dumps({**report, "inside_killed": inside, "reloads": story.reloaded, "steps": steps}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title="what was done", title_justify="left")
    for name in ("step", "seconds", ""):
        table.add_column(name, justify="right" if name == "seconds" else "left")
    for step in story.steps:
        table.add_row(step.name, f"{step.seconds:.2f}", step.remark)
    console.print(table)
    seen = Table(title="what the requests met", title_justify="left", show_header=False)
    for name, value in _rows(story, inside):
        seen.add_row(name, value)
    console.print(seen)


def _kinds(story: Story) -> Iterator[str]:
    """The failures by kind, each with when the first and the last began, in seconds after the load did."""
    kinds: dict[str, list[float]] = {}
    for failure in story.report["failures"]:
        way = "new" if failure["fresh"] else "kept"
        kind = f"{failure['method']} {way} {failure['kind']} {failure['instance']}".strip()
        kinds.setdefault(kind, []).append(failure["sent_at"] - story.load_at)
    for kind, times in sorted(kinds.items()):
        yield f"{kind}: {len(times)}, {min(times):.2f} to {max(times):.2f} s"


def _rows(story: Story, inside: int) -> list[tuple[str, str]]:
    report = story.report
    return [
        ("sent", f"{report['sent']} ({', '.join(f'{way}: {n}' for way, n in sorted(report['by_way'].items()))})"),
        ("failed", str(_failed(story))),
        ("inside the killed container", f"{inside} POST, not repeated; GETs were, by HAProxy"),
        ("latency", f"p50 {report['p50_ms']:.1f} ms, p99 {report['p99_ms']:.1f} ms, longest {report['max_ms']:.0f} ms"),
        ("answered by release", ", ".join(f"{r}: {n}" for r, n in sorted(report["by_release"].items()))),
        ("answered by instance", ", ".join(f"{i}: {n}" for i, n in sorted(report["by_instance"].items()))),
        ("reloads of HAProxy", str(story.reloaded)),
    ]
