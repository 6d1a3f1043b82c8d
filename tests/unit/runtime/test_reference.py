"""Names of images."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InvalidImage
from runtime.images.reference import parse

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.25", "docker.io/library/nginx:1.25"),
        ("hecd/sample:1", "docker.io/hecd/sample:1"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x:2", "localhost:5000/x:2"),
        ("ghcr.io/a/b-c/d_e.f:v1.0-rc_1", "ghcr.io/a/b-c/d_e.f:v1.0-rc_1"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
        (f"127.0.0.1:5000/x:tag@{DIGEST}", f"127.0.0.1:5000/x@{DIGEST}"),
        (DIGEST, DIGEST),
    ],
)
def test_spelled_out(text: str, whole: str) -> None:
    assert str(parse(text)) == whole


@pytest.mark.parametrize(
    "text",
    ["", ":", "Big", "a//b", "a/../b", "../x", "a:", "a:b:c", "x@sha256:12", "x@", "x@md5:00", "-a", "a b", "a\n",
     "a@b@c", "--option", "host:99999999/x", "x:" + "t" * 129],
)  # fmt: skip
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InvalidImage, match="no image name"):
        parse(text)


@given(st.text())
def test_whatever_is_accepted_is_harmless(text: str) -> None:
    try:
        found = parse(text)
    except InvalidImage:
        return
    assert str(parse(str(found))) == str(found)
    assert str(found).isascii() and not set(str(found)) & set(" \n\t'\"\\$;")
    assert ".." not in found.path.split("/") and not str(found).startswith("-")


@pytest.mark.parametrize(
    ("text", "local"),
    [("127.0.0.1:5000/x", True), ("localhost/x", True), ("example.org/x", False), ("127.evil.org/x", False)],
)
def test_plain_http_is_for_this_machine(text: str, local: bool) -> None:
    assert parse(text).local is local
