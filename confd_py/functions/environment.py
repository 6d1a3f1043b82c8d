"""Environment variables: `getenv`, and `${NAME}` in conf.d files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping


def getenv(environ: Mapping[str, str]) -> Callable[..., str]:
    """confd's `getenv`: a variable that is set but empty gives the default, too."""
    return lambda name, default="", *_: environ.get(name) or default


def environment_expander(environ: Mapping[str, str]) -> Callable[[str], str]:
    """Replaces `${NAME}` and `${NAME:-default}`; a lone `$` and `{{ }}` stay as they are."""
    pattern = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
    return lambda text: pattern.sub(lambda m: environ.get(m[1]) or m[2] or "", text)
