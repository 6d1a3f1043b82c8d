"""Which ids of this host are set aside for containers: /etc/subuid and /etc/subgid, as dockerd reads them."""

from __future__ import annotations

import re
from pathlib import Path

from runtime.errors import InvalidSettings
from runtime.model import IdMap, IdRange

DEFAULT_NAME = "hecd"
LEAST_ID = 65536  # below are users of this host
LEAST_SIZE = 65536  # images have files of `nobody`, which is 65534
LARGEST_ID = (1 << 32) - 2
SUBUID, SUBGID = Path("/etc/subuid"), Path("/etc/subgid")
_RANGE = re.compile(r"([0-9]{1,10}):([0-9]{1,10})")


def idmap(wanted: str, settings: Path, subuid: Path | None = None, subgid: Path | None = None) -> IdMap:
    """The ids of `wanted`: START:SIZE, a name of both files, or "default". Raises InvalidSettings, which blames
    `settings`."""
    name = DEFAULT_NAME if wanted == "default" else wanted
    literal = _RANGE.fullmatch(wanted)
    files = (subuid or SUBUID, subgid or SUBGID)
    found = [[(int(literal[1]), int(literal[2]))] if literal else ranges_of(name, file) for file in files]
    faults = [fault for file, ranges in zip(files, found, strict=True) if (fault := _fault(name, file, ranges))]
    if faults:
        told = tuple(dict.fromkeys(f"userns_remap = {wanted!r}: {fault}" for fault in faults))
        raise InvalidSettings(settings, told, hint="" if literal else _hint(name, files))
    uids, gids = (_mapped(ranges) for ranges in found)
    return IdMap(uids, gids)


def ranges_of(name: str, file: Path) -> list[tuple[int, int]]:
    """Every range of the name, in the order of the file."""
    try:
        lines = [line.strip().split(":", 1) for line in file.read_text().splitlines()]
    except FileNotFoundError:
        return []
    found = [_RANGE.fullmatch(words[1]) for words in lines if len(words) == 2 and words[0] == name]
    return [(int(m[1]), int(m[2])) for m in found if m]


def _fault(name: str, file: Path, ranges: list[tuple[int, int]]) -> str:
    if not ranges:
        return f"{name!r} has no ids in {file}"
    for start, size in ranges:
        if start < LEAST_ID or start + size - 1 > LARGEST_ID:
            return f"{start}:{size} is not within {LEAST_ID} and {LARGEST_ID}: below are users of this host"
    size = sum(size for _, size in ranges)
    return f"{size} ids are too few: {LEAST_SIZE} at least" if size < LEAST_SIZE else ""


def _hint(name: str, files: tuple[Path, Path]) -> str:
    return f"Set some aside: echo {name}:{spare(files)}:{LEAST_SIZE} | tee -a {files[0]} {files[1]}"


def spare(files: tuple[Path, Path]) -> int:
    """The first of ids that nobody has been given."""
    ends = [int(m[1]) + int(m[2]) for file in files if file.exists() for m in _RANGE.finditer(file.read_text())]
    return max([100_000, *(-(-end // LEAST_SIZE) * LEAST_SIZE for end in ends)])


def _mapped(ranges: list[tuple[int, int]]) -> tuple[IdRange, ...]:
    """One behind the other, from 0 on in the container."""
    found, inside = [], 0
    for start, size in ranges:
        found.append(IdRange(inside, start, size))
        inside += size
    return tuple(found)
