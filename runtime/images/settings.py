"""/etc/hecd/images.toml: whom to trust, which mirrors to ask first, and how large a layer may become."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.errors import InvalidSettings

FILE = Path("/etc/hecd/images.toml")
CERTS = (Path("/etc/hecd/certs.d"), Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))
LARGEST_LAYER_BYTES = 32 << 30


@dataclass(frozen=True)
class ImageSettings:
    """`certs`: directories that hold one directory a registry, named HOST[:PORT]. `mirrors`: by registry, in order."""

    certs: tuple[Path, ...] = CERTS
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    largest_layer_bytes: int = LARGEST_LAYER_BYTES

    def certs_of(self, host: str) -> Path | None:
        """The directory with the certificates for this registry, in the manner of Docker's certs.d."""
        return next((found for root in self.certs if (found := root / host).is_dir()), None)


def read(path: Path) -> ImageSettings:
    """The settings, the defaults where there is no such file. Raises InvalidSettings with every fault."""
    try:
        found = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return ImageSettings()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise InvalidSettings(path, (f"it is no TOML: {err}",)) from err
    if faults := tuple(_faults(found)):
        raise InvalidSettings(path, faults)
    return ImageSettings(
        certs=(*map(Path, found.get("certs", ())), *CERTS),
        mirrors={host: tuple(mirrors) for host, mirrors in found.get("mirrors", {}).items()},
        largest_layer_bytes=found.get("largest_layer_mib", LARGEST_LAYER_BYTES >> 20) << 20,
    )


def _faults(found: Mapping[str, Any]) -> list[str]:
    faults = [f"unknown setting {key!r}" for key in found if key not in ("certs", "mirrors", "largest_layer_mib")]
    if not _words(found.get("certs", [])):
        faults.append("certs must be a list of directories")
    mirrors = found.get("mirrors", {})
    if not isinstance(mirrors, dict) or not all(map(_words, mirrors.values())):
        faults.append('mirrors must be a table: "docker.io" = ["HOST[:PORT][/PATH]", …]')
    largest = found.get("largest_layer_mib", 1)
    if not isinstance(largest, int) or isinstance(largest, bool) or largest < 1:
        faults.append("largest_layer_mib must be a whole number of MiB, at least 1")
    return faults


def _words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) and word for word in value)
