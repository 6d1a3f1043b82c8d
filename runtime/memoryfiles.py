"""Secrets and configuration files of a container, in a file system in memory that nobody else looks into."""

from __future__ import annotations

import os
from pathlib import Path

from runtime.errors import InvalidSpec
from runtime.linux import MS_NODEV, MS_NOEXEC, MS_NOSUID, mount, unmount
from runtime.model import ContainerSpec, IdMap, MemoryFile

LARGEST_BYTES = 1 << 20  # of one file; etcd and Docker draw the line near there


def place(spec: ContainerSpec, directory: Path, idmap: IdMap | None = None) -> dict[str, str]:
    """Mount `directory` anew and write the files into it: target → source. Raises InvalidSpec, KernelRefused."""
    remove(directory)
    if not spec.files:
        return {}
    contents = _read(spec)
    directory.mkdir(exist_ok=True)
    size = sum(len(content) + 8192 for content in contents)
    mount("tmpfs", str(directory), "tmpfs", MS_NODEV | MS_NOSUID | MS_NOEXEC, f"mode=700,size={size + 65536}")
    found = {}
    for number, (file, content) in enumerate(zip(spec.files, contents, strict=True)):
        path = directory / str(number)
        path.write_bytes(content)
        os.chown(path, *(idmap.outside(file.uid, file.gid) if idmap else (file.uid, file.gid)))
        path.chmod(file.mode)
        found[file.target] = str(path)
    return found


def remove(directory: Path) -> None:
    """Fine if nothing is there."""
    unmount(str(directory))


def _read(spec: ContainerSpec) -> list[bytes]:
    contents, faults = [], []
    for file in spec.files:
        try:
            contents.append(_content(file))
        except OSError as err:
            faults.append(f"the source {file.source} of {file.target} cannot be read: {err.strerror}")
        except ValueError as err:
            faults.append(str(err))
    if faults:
        raise InvalidSpec(spec.name, tuple(faults))
    return contents


def _content(file: MemoryFile) -> bytes:
    if file.content is not None:
        return file.content.encode()
    with Path(file.source).open("rb") as source:
        found = source.read(LARGEST_BYTES + 1)
    if len(found) > LARGEST_BYTES:
        raise ValueError(f"the source {file.source} of {file.target} is larger than {LARGEST_BYTES >> 20} MiB")
    return found
