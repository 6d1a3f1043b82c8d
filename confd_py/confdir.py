"""What an operator wrote below confdir: conf.d, its resources, and their faults."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from confd_py.config import Config
from confd_py.errors import ConfigFault, ResourceFault
from confd_py.functions import environment_expander
from confd_py.notation import line_of
from confd_py.resource import Resource, parse_resource

_log = logging.getLogger("confd-py")
Stamp = tuple[int, int, int] | None


@dataclass(frozen=True)
class Confdir:
    """`resources` by file; a file with a fault has none."""

    resources: Mapping[Path, Resource]
    faults: tuple[ResourceFault, ...]


def read_confdir(config: Config, environ: Mapping[str, str], running: Mapping[Path, Resource] | None = None) -> Confdir:
    """All template resources below confdir. Of two that write one file the one that is `running` stays, else the first.

    Raises ConfigFault.
    """
    folder = Path(config.confdir) / "conf.d"
    if not folder.parent.exists():  # as confd: nothing to do is no failure
        _log.warning("there is no directory confdir=%s", folder.parent)
        return Confdir({}, ())
    if not folder.is_dir():
        raise ConfigFault(f"there is no directory {folder}", hint="Name its parent with -confdir.")
    expand = environment_expander(environ)
    resources: dict[Path, Resource] = {}
    faults = []
    for path in sorted(path for path in folder.rglob("*toml") if path.is_file()):
        try:
            resource = parse_resource(str(path), path.read_text(), prefix=config.prefix, expand=expand)
            resources[path] = replace(resource, name=_name(path, folder))
        except ResourceFault as err:
            faults.append(err)
        except (OSError, UnicodeDecodeError) as err:
            why = err.strerror if isinstance(err, OSError) else "it is not UTF-8"
            faults.append(ResourceFault(str(path), f"cannot be read: {why}"))
    writers: dict[str, Path] = {}  # of each place
    for path in sorted(resources, key=lambda path: ((running or {}).get(path) != resources[path], path)):
        if fault := _another_writer(path, resources[path], writers):
            faults.append(fault)
            del resources[path]
    return Confdir(resources, tuple(faults))


def _name(path: Path, folder: Path) -> str:
    """Its path in conf.d: two directories may have files of one name."""
    return str(path.relative_to(folder)).removesuffix(".toml")


def _another_writer(path: Path, resource: Resource, writers: dict[str, Path]) -> ResourceFault | None:
    """Two that write one file would put it back in turns without end. What nobody writes yet is noted in `writers`."""
    mine = {"dest": os.path.realpath(resource.dest), "applied_file": os.path.realpath(resource.applied_file)}
    for key, place in mine.items():
        if place in writers:
            line = line_of(path.read_text(), key)
            hint = f"Give one of them another {key}."
            return ResourceFault(str(path), f"{writers[place]} writes {place}, too", line=line, hint=hint)
    writers.update(dict.fromkeys(mine.values(), path))
    return None


def stamp(path: Path) -> Stamp:
    """Changes whenever the file does: which inode, when changed, how long; None for no file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_ctime_ns, stat.st_size


def stamps(folder: Path) -> dict[str, Stamp]:
    """The stamps of all files below a directory."""
    return {str(path): stamp(path) for path in _files(folder)}


def _files(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for place, inner, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        inner[:] = [name for name in inner if os.path.realpath(Path(place, name)) not in seen]  # links lead round
        yield from (Path(place, name) for name in names)
