"""Which ids are set aside for containers, and who their users are outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import InvalidSettings
from runtime.model import IdMap, IdRange
from runtime.subids import idmap

SETTINGS = Path("/etc/hecd/runtime.toml")


def read(folder: Path, wanted: str, uids: str = "", gids: str = "") -> IdMap:
    for name, text in (("subuid", uids), ("subgid", gids)):
        (folder / name).write_text(text)
    return idmap(wanted, SETTINGS, folder / "subuid", folder / "subgid")


def test_a_range_a_name_and_the_default(tmp_path: Path) -> None:
    whole = (IdRange(0, 100000, 65536),)
    assert read(tmp_path, "100000:65536") == IdMap(whole, whole)
    lines = "other:1000000:65536\nhecd:100000:65536\n"
    assert read(tmp_path, "default", lines, lines) == read(tmp_path, "hecd", lines, lines) == IdMap(whole, whole)
    two = "app:100000:60000\n# app:1:2\napp:300000:6000\n"
    found = read(tmp_path, "app", two, "app:500000:70000\n")
    assert found.uids == (IdRange(0, 100000, 60000), IdRange(60000, 300000, 6000))
    assert found.gids == (IdRange(0, 500000, 70000),)


def test_who_a_user_is_outside() -> None:
    ids = IdMap((IdRange(0, 100000, 10), IdRange(10, 300000, 10)), (IdRange(0, 500000, 20),))
    assert [ids.outside(n, n) for n in (0, 9, 10, 19)] == [
        (100000, 500000), (100009, 500009), (300000, 500010), (300009, 500019),
    ]  # fmt: skip
    for uid, gid, who in ((20, 0, "user 20"), (0, 20, "group 20")):
        with pytest.raises(ValueError, match=f"{who} is beyond the 20 that are remapped"):
            ids.outside(uid, gid)


@pytest.mark.parametrize(
    ("wanted", "uids", "gids", "fault"),
    [
        ("hecd", "", "hecd:100000:65536", r"userns_remap = 'hecd': 'hecd' has no ids in /.*/subuid"),
        ("default", "hecd:100000:65536", "hecd:x:1", r"'default': 'hecd' has no ids in /.*/subgid"),
        ("hecd", "hecd:100000:65535", "hecd:100000:65536", "65535 ids are too few: 65536 at least"),
        ("0:65536", "", "", "0:65536 is not within 65536 and 4294967294: below are users of this host"),
        ("4294900000:99999", "", "", "is not within 65536"),
        ("hecd", "hecd:1000:99999", "hecd:100000:65536", "1000:99999 is not within"),
    ],
)
def test_faults(tmp_path: Path, wanted: str, uids: str, gids: str, fault: str) -> None:
    with pytest.raises(InvalidSettings, match=f"^{SETTINGS}: .*{fault}"):
        read(tmp_path, wanted, uids, gids)


def test_the_hint_names_ids_that_nobody_has(tmp_path: Path) -> None:
    for others, start in (("", 100000), ("a:100000:65536\nb:165536:65536\n", 262144)):
        with pytest.raises(InvalidSettings) as told:
            read(tmp_path, "hecd", others, others)
        files = f"{tmp_path}/subuid {tmp_path}/subgid"
        assert told.value.hint == f"Set some aside: echo hecd:{start}:65536 | tee -a {files}"
    (tmp_path / "subuid").unlink()
    with pytest.raises(InvalidSettings, match="has no ids"):
        idmap("hecd", SETTINGS, tmp_path / "subuid", tmp_path / "none")
