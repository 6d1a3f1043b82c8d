"""Keys as a tree, files that change in one step, and what is remembered in them."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confd_py import applied, dest
from confd_py.applied import Applied
from confd_py.errors import WriteFailed
from confd_py.functions.text import snakecase
from confd_py.guard import Ghost, Remembered
from confd_py.keyspace import KeySpace, covers, join_path
from confd_py.store import Entry


@given(st.lists(st.tuples(st.sampled_from(["put", "drop"]), st.sampled_from(["/a", "/a/b", "/a/c", "/b", "/ab"]))))
def test_keyspace_is_a_sorted_dictionary(steps: list[tuple[str, str]]) -> None:
    keys = KeySpace()
    model: dict[str, str] = {}
    for step, key in steps:
        if step == "put":
            keys.put(key, key)
            model[key] = key
        else:
            keys.drop(key)
            model.pop(key, None)
    assert list(keys.below("")) == sorted(model.items())
    assert len(keys) == len(model)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("/a/*", ["/a/b", "/a/c"]),
        ("/*", ["/a"]),
        ("/a/?", ["/a/b", "/a/c"]),
        ("/a/[b]", ["/a/b"]),
        ("/a/[^b]", ["/a/c"]),
        ("/a", ["/a"]),
        ("/a/b/*", ["/a/b/x.y"]),
        ("/a/b/x.?", ["/a/b/x.y"]),
        ("/a/b/xz?", []),
        ("/*/*/*", ["/a/b/x.y"]),
    ],
)
def test_match_is_per_segment(pattern: str, found: list[str]) -> None:
    keys = KeySpace(dict.fromkeys(["/a", "/a/b", "/a/c", "/a/b/x.y"], ""))
    assert [key for key, _ in keys.match(pattern)] == found


def test_paths() -> None:
    assert join_path("", "/a/", "b") == "/a/b"
    assert join_path("", "") == "/"
    assert covers(("/a",), "/a/b")
    assert not covers(("/a",), "/ab")
    assert covers(("/",), "/x")


@pytest.fixture(params=["nameless files", "none"])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has files without a name, and one that answers as kernels do where it has none."""
    if request.param == "none":
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)


@pytest.mark.usefixtures("file_system")
def test_replace_keeps_mode_and_symlink(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.write_text("old")
    real.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(real)
    dest.replace_text(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert real.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "real"]


@pytest.mark.usefixtures("file_system")
def test_modes_are_those_asked_for_whatever_the_umask(tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        for mode in (0o644, 0o4755, 0o000, None):
            dest.replace_text(tmp_path / "a", str(mode), dest.Ownership(mode=mode))
            assert (tmp_path / "a").stat().st_mode & 0o7777 == (mode or 0o000)
    finally:
        os.umask(mask)


@pytest.mark.usefixtures("file_system")
def test_a_disk_that_fails_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dest.replace_text(tmp_path / "a", "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteFailed, match="No space left"):
        dest.replace_text(tmp_path / "a", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


@pytest.mark.usefixtures("file_system")
def test_new_files_are_0644_and_asked_modes_count(tmp_path: Path) -> None:
    dest.replace_text(tmp_path / "a", "x")
    dest.replace_text(tmp_path / "b", "x", dest.Ownership(mode=0o640))
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o640
    assert dest.fits(tmp_path / "b", "x", dest.Ownership(mode=0o640))
    assert not dest.fits(tmp_path / "b", "x", dest.Ownership(mode=0o600))
    assert not dest.fits(tmp_path / "b", "y", dest.Ownership())
    assert not dest.fits(tmp_path / "c", "y", dest.Ownership())


def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(WriteFailed, match="could not be written"):
        dest.replace_text(tmp_path / "no" / "file", "x")


def test_bytes_that_are_no_utf8_survive(tmp_path: Path) -> None:
    text = b"\xff\xfe".decode("utf-8", "surrogateescape")
    dest.replace_text(tmp_path / "a", text)
    assert (tmp_path / "a").read_bytes() == b"\xff\xfe"
    assert dest.read(tmp_path / "a") == text


def test_applied_state_goes_round(tmp_path: Path) -> None:
    state = Applied("r", "/d", revision=7, cluster_id=str(2**64 - 1), reloads=3, error="e", pending_admissions=("b/s",))
    applied.save(tmp_path / "x", state)
    loaded = applied.load(tmp_path / "x", "r", "/d")
    assert (loaded.revision, loaded.cluster_id, loaded.reloads, loaded.error) == (7, str(2**64 - 1), 3, "e")
    again = applied.load(tmp_path / "x", "r", "/d")
    applied.save(tmp_path / "x", again)
    assert applied.load(tmp_path / "x", "r", "/d") == again


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"reloads": "x"}', '{"reloads": []}'])
def test_a_damaged_applied_state_is_a_fresh_start(tmp_path: Path, damage: str) -> None:
    (tmp_path / "x").write_text(damage)
    assert applied.load(tmp_path / "x", "r", "/d") == Applied("r", "/d")


def test_remembered_view_goes_round(tmp_path: Path) -> None:
    entry = Entry("wört\n", 5, 2**62)
    view = Remembered(9, 2**63 + 1, {"/a": entry}, {"/b": Ghost(entry, "doubt", 1.5)})
    applied.save_view(tmp_path / "v", view)
    assert applied.load_view(tmp_path / "v") == view
    (tmp_path / "v").write_text("{}")
    assert applied.load_view(tmp_path / "v") is None
    os.unlink(tmp_path / "v")
    assert applied.load_view(tmp_path / "v") is None


def test_what_a_killed_process_staged_is_swept(tmp_path: Path) -> None:
    kept = [".a123", ".a12345678901", ".b1234567890", "a1234567890", ".a1234567890.applied", ".a0000000001"]
    for name in (".a1234567890", *kept, "a"):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (1, 1))
    os.utime(tmp_path / ".a0000000001")  # somebody may be at it
    (tmp_path / ".a9999999999").symlink_to("a")
    dest.sweep(tmp_path / "a", 60.0)
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "a", ".a9999999999"}


def test_a_link_to_itself_is_one_clear_fault(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("a")
    assert not dest.fits(tmp_path / "a", "x", dest.Ownership())
    with pytest.raises(WriteFailed, match="Too many levels of symbolic links"):
        dest.stage(tmp_path / "a", "x", dest.Ownership())


def test_a_pipe_as_dest_stays_one(tmp_path: Path) -> None:
    place = tmp_path / "out"
    os.mkfifo(place)
    with pytest.raises(WriteFailed, match="out is no regular file"):
        dest.stage(place, "text", dest.Ownership())
    assert list(tmp_path.iterdir()) == [place]


def test_a_circle_of_links_says_so(tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.symlink_to(place)
    with pytest.raises(WriteFailed, match="Too many levels of symbolic links") as caught:
        dest.stage(place, "text", dest.Ownership())
    assert "circle" in caught.value.hint


def test_an_old_file_is_spoken_of_only_where_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(WriteFailed) as caught:
        dest.stage(tmp_path / "gone" / "out", "", dest.Ownership())
    assert caught.value.hint == "Create its directory; it is tried again."


def test_words_of_a_long_name_are_found_in_linear_time() -> None:
    def seconds(length: int) -> float:
        began_s = time.process_time()
        assert len(snakecase("a" * length)) == length
        return time.process_time() - began_s

    assert seconds(400_000) < 40 * seconds(25_000) + 0.5
