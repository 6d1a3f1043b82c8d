"""Files of variables: the .env beside a compose file, and those that env_file names.

NAME=value          # spaces around are taken away, a comment needs a space before it
NAME="a\\tb ${X}"    variables and the escapes \\n \\r \\t \\\\ \\" \\$ count; may go over several lines
NAME='literal'      nothing counts but \\'; may go over several lines
export NAME=value
NAME                its value in the environment, if it has one there
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from registrator.spec.interpolation import InterpolationFault, interpolate

_HEAD = re.compile(r"[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(?P<sign>[=:])?[ \t]*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "$": "$$"}  # $$ is interpolation's word for $
_REST = re.compile(r"[ \t]*(#.*)?")


class DotenvFault(ValueError):
    """A line that is not understood; the text says which and why."""


def parse(text: str, environment: Mapping[str, str], *, raw: bool = False) -> dict[str, str]:
    """The variables of a file. A variable in a value is looked up in `environment`, then in what stands above.

    `raw` takes every value as it stands, quotes and dollar signs too. Raises DotenvFault.
    """
    found: dict[str, str] = {}
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    number = 0
    while number < len(lines):
        line, number = lines[number], number + 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        begin = number
        head = _HEAD.match(line)
        if head is None or "\0" in line:
            raise DotenvFault(f"line {begin}: not of the form NAME=value")
        name, rest = head["name"], line[head.end() :]
        if head["sign"] is None:
            if not _REST.fullmatch(rest):
                raise DotenvFault(f"line {begin}: not of the form NAME=value")
            if name in environment:
                found[name] = environment[name]
            continue
        while not raw and _is_open(rest) and number < len(lines):
            rest, number = f"{rest}\n{lines[number]}", number + 1
        try:
            found[name] = rest if raw else _value(rest, {**found, **environment})
        except (InterpolationFault, DotenvFault) as err:
            raise DotenvFault(f"line {begin}: {name}: {err}") from err
    return found


def _is_open(rest: str) -> bool:
    """Whether a quote that `rest` begins with is not closed yet."""
    return rest[:1] in ("'", '"') and _close(rest) is None


def _close(rest: str) -> int | None:
    """Where the quote at 0 closes."""
    at = 1
    while at < len(rest):
        if rest[at] == "\\":
            at += 1
        elif rest[at] == rest[0]:
            return at
        at += 1
    return None


def _value(rest: str, variables: Mapping[str, str]) -> str:
    if rest[:1] not in ("'", '"'):
        bare = re.sub(r"(^|[ \t])#.*", "", rest).strip()
        return interpolate(bare, variables)
    close = _close(rest)
    if close is None:
        raise DotenvFault("the quote is not closed")
    if not _REST.fullmatch(rest[close + 1 :]):
        raise DotenvFault("something follows the closing quote")
    inside = rest[1:close]
    if rest[0] == "'":
        return inside.replace("\\'", "'")
    return interpolate(re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), inside, flags=re.DOTALL), variables)
