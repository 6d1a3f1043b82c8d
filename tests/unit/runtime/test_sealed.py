"""Programs that run from memory nobody can write to."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from runtime.engines.sealed import Sealed


def said(path: str) -> str:
    return subprocess.run([path], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A binary: a script would be handed to its shell by a name that is gone."""
    path = tmp_path / "program"
    path.write_bytes(Path("/bin/pwd").read_bytes())
    path.chmod(0o755)
    return path


def test_the_copy_runs_and_can_not_be_changed(program: Path) -> None:
    sealed = Sealed(str(program))
    copy = sealed.path
    assert copy != str(program) and copy == sealed.path, "one copy for all calls"
    assert said(copy) == str(Path.cwd())
    with pytest.raises(OSError, match=os.strerror(errno.EPERM)):
        os.truncate(copy, 1)
    with pytest.raises(OSError, match=os.strerror(errno.EPERM)), open(copy, "r+b", buffering=0) as file:
        file.write(b"#")
    sealed.close()


def test_another_program_gets_another_copy(program: Path) -> None:
    sealed = Sealed(str(program))
    assert said(sealed.path) == str(Path.cwd())
    program.with_name("new").write_bytes(Path("/bin/true").read_bytes())
    program.with_name("new").chmod(0o755)
    program.with_name("new").rename(program)
    assert said(sealed.path) == ""
    program.unlink()
    assert sealed.path == str(program), "whoever calls it gets the usual fault"


def test_without_such_memory_the_program_itself_is_called(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, flags: int) -> int:
        raise OSError(errno.ENOSYS, name)

    monkeypatch.setattr(os, "memfd_create", refuse)
    assert Sealed(str(program)).path == str(program)
