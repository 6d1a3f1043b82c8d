"""Whom a container runs as."""

from __future__ import annotations

import pytest

from runtime.engines.user import User, resolve
from runtime.errors import InvalidSpec

PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\nbroken\n77:x:500:501::/named-77:/bin/sh\n"
GROUP = "root:x:0:\napp:x:1000:\nwheel:x:10:root,app\nbroken:x:NaN:app\n"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("", User(0, 0, (10,), "/root")),
        ("root", User(0, 0, (10,), "/root")),
        ("app", User(1000, 1000, (10,), "/home/app")),
        ("1000", User(1000, 1000, (10,), "/home/app")),
        ("app:wheel", User(1000, 10, (), "/home/app")),
        ("app:55", User(1000, 55, (), "/home/app")),
        ("4242", User(4242, 0, (), "/")),
        ("4242:4343", User(4242, 4343, (), "/")),
        ("77", User(500, 501, (), "/named-77")),
    ],
)
def test_names_and_numbers(wanted: str, found: User) -> None:
    assert resolve(wanted, PASSWD, GROUP) == found


@pytest.mark.parametrize("wanted", ["nobody", "app:nogroup", "-1", "1e3"])
def test_who_is_not_there_is_named(wanted: str) -> None:
    with pytest.raises(InvalidSpec, match=r"has no (user|group)"):
        resolve(wanted, PASSWD, GROUP)


def test_an_image_without_files_runs_as_root_or_by_number() -> None:
    assert resolve("", "", "") == User(0, 0, (), "/")
    assert resolve("7:8", "", "") == User(7, 8, (), "/")
