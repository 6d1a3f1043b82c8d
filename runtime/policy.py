"""/etc/hecd/runtime.toml: what containers of this host may be given at most."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import InvalidSettings

FILE = Path("/etc/hecd/runtime.toml")


@dataclass(frozen=True)
class Policy:
    """`privileged`: whether a container may be given all the power that root has here."""

    privileged: bool = False


def read(path: Path) -> Policy:
    """The policy, the defaults where there is no such file. Raises InvalidSettings with every fault."""
    try:
        found = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return Policy()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise InvalidSettings(path, (f"it is no TOML: {err}",)) from err
    faults = [f"unknown setting {key!r}" for key in found if key != "privileged"]
    if not isinstance(found.get("privileged", False), bool):
        faults.append("privileged must be true or false")
    if faults:
        raise InvalidSettings(path, tuple(faults))
    return Policy(**found)
