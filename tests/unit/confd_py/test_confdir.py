"""What stands below confdir, read as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from confd_py.confdir import read_confdir
from confd_py.config import Config


@pytest.fixture
def conf_d(tmp_path: Path) -> Path:
    (tmp_path / "conf.d/inner").mkdir(parents=True)
    return tmp_path / "conf.d"


def put(conf_d: Path, name: str, dest: str, more: str = "") -> None:
    (conf_d / name).write_text(f'[template]\nsrc = "t"\ndest = "{dest}"\n{more}')


def faults(conf_d: Path) -> list[tuple[str, str]]:
    return [(err.brief, err.hint) for err in read_confdir(Config(confdir=str(conf_d.parent)), {}).faults]


def test_names_tell_files_of_one_name_apart(conf_d: Path) -> None:
    put(conf_d, "web.toml", "/x/a")
    put(conf_d, "inner/web.toml", "/x/b")
    found = read_confdir(Config(confdir=str(conf_d.parent)), {})
    assert (sorted(one.name for one in found.resources.values()), found.faults) == (["inner/web", "web"], ())


@pytest.mark.parametrize(
    ("dest", "more", "line", "place", "key"),
    [
        ("/x/a", "", 3, "/x/a", "dest"),
        ("/x/../x/a", "", 3, "/x/a", "dest"),
        ("/x/a.applied", "", 3, "/x/a.applied", "dest"),
        ("/x/b", 'applied_file = "/x/a"', 4, "/x/a", "applied_file"),
        ("/x/b", 'applied_file = "/x/a.applied"', 4, "/x/a.applied", "applied_file"),
    ],
)
def test_two_that_write_one_file(conf_d: Path, dest: str, more: str, line: int, place: str, key: str) -> None:
    put(conf_d, "a.toml", "/x/a")
    put(conf_d, "b.toml", dest, more)
    told = f"{conf_d}/b.toml:{line}: {conf_d}/a.toml writes {place}, too"
    assert faults(conf_d) == [(told, f"Give one of them another {key}.")]


def test_two_places_where_a_link_leads_are_one(conf_d: Path, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("")
    (tmp_path / "link").symlink_to("real")
    put(conf_d, "a.toml", f"{tmp_path}/real")
    put(conf_d, "b.toml", f"{tmp_path}/link")
    assert [brief.partition(": ")[2] for brief, _ in faults(conf_d)] == [f"{conf_d}/a.toml writes {tmp_path}/real, too"]
