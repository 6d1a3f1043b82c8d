"""Tags: comma-separated, a comma inside one escaped by a backslash. Pure."""

from __future__ import annotations

import re

_SEPARATOR = re.compile(r"(?<!\\),")


def parse(text: str) -> list[str]:
    """The tags of `text`, last first as registrator has them; empty ones are left out."""
    return [part.replace("\\,", ",") for part in reversed(_SEPARATOR.split(text)) if part]


def combine(*texts: str) -> tuple[str, ...]:
    """The tags of all `texts`, one after the other."""
    return tuple(tag for text in texts for tag in parse(text))
