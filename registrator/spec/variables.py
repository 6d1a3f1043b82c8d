"""The variables of a project, and their way into its values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registrator.spec import environment
from registrator.spec.fault import Fault
from registrator.spec.fault import Path as Place
from registrator.spec.field import Findings
from registrator.spec.interpolation import InterpolationFault, interpolate


def variables_of(given: Mapping[str, str], base_dir: Path, findings: Findings) -> dict[str, str]:
    """`given`, over those of the file .env in `base_dir`."""
    path = base_dir / ".env"
    if not path.exists():
        return dict(given)
    try:
        return {**environment.read(path, given), **given}
    except (OSError, ValueError) as err:
        findings.faults.append(Fault((), environment.why(path, err)))
        return dict(given)


class Filling:
    """Fills variables in, in all values but those of extensions that nobody reads."""

    def __init__(self, findings: Findings, variables: Mapping[str, str]) -> None:
        self._findings = findings
        self._variables = variables

    def tree(self, value: Any, path: Place) -> Any:
        if isinstance(value, dict):
            return {k: v if is_ignored(k) else self.tree(v, (*path, k)) for k, v in value.items()}
        if isinstance(value, list):
            return [self.tree(item, (*path, index)) for index, item in enumerate(value)]
        return self._text(value, path) if isinstance(value, str) else value

    def _text(self, text: str, path: Place) -> str:
        try:
            return interpolate(text, self._variables, self._unset)
        except InterpolationFault as err:
            self._findings.fault(path, str(err))
            return text

    def _unset(self, name: str) -> None:
        self._findings.warn(f"the variable {name} is not set; it counts as empty")


def is_ignored(key: str) -> bool:
    """Whether a key is an extension of somebody else's."""
    return key.startswith("x-") and key != "x-hecd"
