"""Numbers that somebody types."""

from __future__ import annotations

import math
from typing import Any

import click


class Seconds(click.FloatRange):
    """A span of time. `nan`, which is in every range, and infinity are refused."""

    name = "seconds"

    def __init__(self, least: float, most: float | None = None) -> None:
        super().__init__(least, most)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds. Fails with what may stand."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return found
