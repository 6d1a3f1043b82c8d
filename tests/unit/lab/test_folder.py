"""Which lab a command is about, and what is never taken for one."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from registrator.cli import hecd
from registrator.errors import AlreadyRunning, HecdError, NotFound
from registrator.lab import build
from registrator.lab.plan import planned, settings_text, written


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HECD_ROOT", "HECD_CONFIG", "HECD_ETCD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(build, "FOLDER", tmp_path / "usual")


def lab_in(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings of the desk of a lab that looks as if it were up."""
    lab = planned(root / "lab", 1, 1, 1, (), "hecdlab")
    lab.desk.parent.mkdir(parents=True)
    (lab.folder / "lab.json").write_text(written(lab))
    lab.desk.write_text(settings_text(lab.desk_settings))
    monkeypatch.setattr("registrator.lab.keeper.running_pid", lambda folder: 1 if folder == lab.folder else None)
    return lab.desk


def test_the_root_may_be_named_by_flag_or_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = lab_in(tmp_path / "a", monkeypatch)
    run = CliRunner()
    assert run.invoke(hecd, ["--root", str(tmp_path / "a"), "lab", "env"]).output == f"export HECD_CONFIG={desk}\n"
    monkeypatch.setenv("HECD_ETCD", "elsewhere:2379")
    monkeypatch.setenv("HECD_ROOT", str(tmp_path / "a"))
    lines = run.invoke(hecd, ["lab", "env"]).output.splitlines()
    assert lines == [f"export HECD_CONFIG={desk}", "unset HECD_ETCD", "unset HECD_ROOT"]
    missing = run.invoke(hecd, ["--root", str(tmp_path / "b"), "lab", "env"]).exception
    assert isinstance(missing, NotFound) and str(tmp_path / "b" / "lab") in missing.brief
    assert "--root" in missing.hint


def test_a_shell_that_speaks_to_a_lab_means_that_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = lab_in(tmp_path / "a", monkeypatch)
    monkeypatch.setenv("HECD_CONFIG", str(desk))
    assert CliRunner().invoke(hecd, ["lab", "env"]).output == f"export HECD_CONFIG={desk}\n"
    monkeypatch.setenv("HECD_CONFIG", str(tmp_path / "etc" / "desk" / "hecd.toml"))
    missing = CliRunner().invoke(hecd, ["lab", "env"]).exception
    assert isinstance(missing, NotFound) and str(tmp_path / "usual") in missing.brief


def test_while_one_command_is_at_a_lab_no_other_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither makes a second one, nor takes the first one away below it."""
    lab_in(tmp_path, monkeypatch)
    around = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(around, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunning, match="another `hecd lab` puts this lab up"):
            build.down(tmp_path / "lab")
        assert (tmp_path / "lab" / "lab.json").exists()
    finally:
        os.close(around)


def test_what_is_no_lab_is_not_taken_away(tmp_path: Path) -> None:
    mine = tmp_path / "lab" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("years of work")
    done = CliRunner().invoke(hecd, ["--root", str(tmp_path), "lab", "down"])
    assert isinstance(done.exception, HecdError) and "is no lab's" in done.exception.brief
    assert mine.exists()
