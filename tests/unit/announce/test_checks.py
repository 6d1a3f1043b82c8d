"""SERVICE_CHECK_*: which probe comes of it, and what is said of what can't be."""

from __future__ import annotations

import pytest

from registrator.announce.checks import check_of
from registrator.announce.conventions import Service


def service(**said: str) -> Service:
    return Service("id", "web", "10.0.0.1", 8080, "80", attributes={f"check_{name}": v for name, v in said.items()})


def test_nothing_is_asked_for() -> None:
    found = check_of(service())
    assert (found.check, found.warnings) == (None, ())


@pytest.mark.parametrize(
    ("said", "kind", "path", "warned"),
    [
        ({"http": "/health?full=1"}, "http", "/health?full=1", ""),
        ({"http": "health"}, "tcp", "/", "no path"),
        ({"http": "/a b"}, "tcp", "/", "no path"),
        ({"http": "/a\r\nX: y"}, "tcp", "/", "no path"),
        ({"http": "/", "http_method": "HEAD"}, "http", "/", "GET"),
        ({"tcp": "true"}, "tcp", "/", ""),
        ({"https": "/health"}, "tcp", "/", "HTTPS"),
        ({"grpc": "true"}, "tcp", "/", "GRPC"),
        ({"http": "/a", "tcp": "true"}, "http", "/a", ""),
        ({"script": "curl x"}, None, "", "SERVICE_CHECK_SCRIPT is not run"),
        ({"cmd": "true", "tcp": "true"}, None, "", "SERVICE_CHECK_CMD is not run"),
        ({"ttl": "30s"}, None, "", "TTL"),
    ],
)
def test_kinds(said: dict[str, str], kind: str | None, path: str, warned: str) -> None:
    found = check_of(service(**said))
    assert (found.check.kind if found.check else None) == kind
    if found.check is not None:
        assert (found.check.path, found.check.port) == (path, 8080)
    assert [warned in warning for warning in found.warnings] == ([True] if warned else [])


@pytest.mark.parametrize(
    ("text", "seconds", "warnings"),
    [
        ("15s", 15.0, 0),
        ("1m30s", 90.0, 0),
        ("250ms", 0.25, 0),
        ("1.5h", 5400.0, 0),
        ("", 10.0, 0),
        ("15", 10.0, 1),
        ("-1s", 10.0, 1),
        ("0s", 10.0, 1),
        ("1s junk", 10.0, 1),
    ],
)
def test_durations(text: str, seconds: float, warnings: int) -> None:
    found = check_of(service(tcp="yes", interval=text))
    assert found.check is not None
    assert (found.check.interval_s, len(found.warnings)) == (seconds, warnings)


def test_what_is_taken_for_passing_until_it_was_asked() -> None:
    assert check_of(service(tcp="yes", initial_status="passing")).passing
    assert not check_of(service(tcp="yes", initial_status="critical")).passing
