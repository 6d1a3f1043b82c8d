"""The environment of a container: env_file, then environment over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from registrator.spec import dotenv
from registrator.spec.field import Field

MAX_FILE_BYTES = 1 << 20


def environment_of(service: Field, base_dir: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """All variables. One named without a value gets that of `variables`, or is left out."""
    found: dict[str, str] = {}
    for place in service["env_file"].items():
        found |= _file(place, base_dir, variables)
    return variables_in(service["environment"], variables, found)


def variables_in(
    places: Field, variables: Mapping[str, str], before: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Those of `before`, with what stands at `places` over them."""
    found = dict(before or {})
    for place, name, value in pairs(places):
        if not name or "=" in name or not name.isprintable():
            place.fault(f"{name[:60]!r} can't be the name of a variable")
        elif value is not None:
            found[name] = value
        elif name in variables:
            found[name] = variables[name]
        else:
            found.pop(name, None)
    return found


def labels_of(service: Field) -> dict[str, str]:
    """The labels; one without a value is empty."""
    found: dict[str, str] = {}
    for place, name, value in pairs(service["labels"]):
        if not name or not name.isprintable():
            place.fault(f"{name[:60]!r} can't be the name of a label")
        else:
            found[name] = value or ""
    return found


def pairs(places: Field) -> Iterator[tuple[Field, str, str | None]]:
    """The pairs of a mapping, or of a list of NAME=value; the value None where there is none."""
    if isinstance(places.value, dict):
        for name, place in places.named():
            yield place, name, written(place.value)
    else:
        for place in places.items():
            name, sign, value = place.text().partition("=")
            yield place, name, value if sign else None


def written(value: Any) -> str | None:
    """A YAML value as the text that Compose makes of it: true, 1, 1.5; None stays None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


def _file(place: Field, base_dir: Path, variables: Mapping[str, str]) -> dict[str, str]:
    long = isinstance(place.value, dict)
    name = place["path"].text() if long else place.text()
    needed, raw = place["required"].truth(True), place["format"].text() == "raw"
    if not name or not name.isprintable():
        place.fault(f"{name[:60]!r} is not a path")
        return {}
    path = base_dir / name
    if not needed and not path.exists():
        return {}
    try:
        return read(path, variables, raw=raw)
    except (OSError, ValueError) as err:
        place.fault(why(path, err))
        return {}


def read(path: Path, variables: Mapping[str, str], *, raw: bool = False) -> dict[str, str]:
    """The variables of the file at `path`. Raises OSError, or ValueError that tells the line."""
    if not path.is_file():
        raise FileNotFoundError(2, "there is no such file", str(path))
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"is larger than {MAX_FILE_BYTES >> 20} MiB")
    return dotenv.parse(content.decode(), variables, raw=raw)


def why(path: Path, err: Exception) -> str:
    """What to tell of a file that could not be read."""
    if isinstance(err, UnicodeDecodeError):
        return f"{path} is not UTF-8"
    return f"{path}: {err.strerror if isinstance(err, OSError) else err}"
