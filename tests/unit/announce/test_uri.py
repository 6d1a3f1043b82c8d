"""The registry's URI."""

from __future__ import annotations

import pytest

from registrator.announce.uri import Registry, parse
from registrator.errors import HecdError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("etcd://h:1/services", Registry("etcd", ("h:1",), "/services")),
        ("etcd://h/a/b/", Registry("etcd", ("h:2379",), "/a/b")),
        ("etcd://h//a", Registry("etcd", ("h:2379",), "/a")),
        ("etcd://", Registry("etcd", ("127.0.0.1:2379",))),
        ("etcd:///services", Registry("etcd", ("127.0.0.1:2379",), "/services")),
        ("etcd://h1:1,h2:2/x", Registry("etcd", ("h1:1", "h2:2"), "/x")),
        ("etcd://[::1]:2379/x", Registry("etcd", ("[::1]:2379",), "/x")),
        ("etcd://me:p%40ss@h:1/x", Registry("etcd", ("h:1",), "/x", ("me", "p@ss"))),
        ("hecd://", Registry("hecd")),
        ("hecd://h:1/", Registry("hecd", ("h:1",))),
    ],
)
def test_taken(text: str, expected: Registry) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("consul://h:8500", "unrecognized adapter"),
        ("skydns2://h/x", "unrecognized adapter"),
        ("h:2379", "unrecognized adapter"),
        ("", "unrecognized adapter"),
        ("hecd://h/services", "bad adapter uri"),
        ("etcd://h:99999/x", "bad adapter uri"),
        ("etcd://h h/x", "bad adapter uri"),
        ("etcd://h/x?y", "bad adapter uri"),
        ("etcd://h/a%0Ab", "bad adapter uri"),
        ("etcd://[::1/x", "bad adapter uri"),
    ],
)
def test_refused(text: str, why: str) -> None:
    with pytest.raises(HecdError, match=why):
        parse(text)
