"""What Docker's configuration says of us, and what /etc/hecd/images.toml may say."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from runtime.errors import CredentialsUnreadable, InvalidSettings
from runtime.images import credentials, settings

PAIR = base64.b64encode(b"me:a:b").decode()


def found(home: Path, config: object, host: str = "registry.example") -> credentials.Credentials | None:
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker/config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return credentials.find(host, {"HOME": str(home), "PATH": str(home)})


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("registry.example", "registry.example"),
        ("registry.example", "https://registry.example"),
        ("docker.io", "https://index.docker.io/v1/"),
    ],
)
def test_the_entry_of_a_registry(tmp_path: Path, host: str, key: str) -> None:
    me = found(tmp_path, {"auths": {key: {"auth": PAIR}, "other": {"auth": "!"}}}, host)
    assert me is not None and (me.user, me.secret) == ("me", "a:b")
    assert "a:b" not in repr(me)
    assert json.loads(me.as_authfile(host)) == {"auths": {host: {"auth": PAIR}}}


def test_an_identity_token(tmp_path: Path) -> None:
    me = found(tmp_path, {"auths": {"registry.example": {"identitytoken": "t"}}})
    assert me is not None
    assert json.loads(me.as_authfile("h"))["auths"]["h"]["identitytoken"] == "t"


@pytest.mark.parametrize("config", [{}, {"auths": {}}, {"auths": {"registry.example": {}}}, {"auths": {"x": {}}}])
def test_nobody(tmp_path: Path, config: object) -> None:
    assert found(tmp_path, config) is None
    assert credentials.find("registry.example", {"HOME": str(tmp_path / "none")}) is None


@pytest.mark.parametrize("entry", [{"auth": "!"}, {"auth": "bm9jb2xvbg=="}, "text"])
def test_nonsense_is_told(tmp_path: Path, entry: object) -> None:
    with pytest.raises(CredentialsUnreadable, match=r"registry\.example"):
        found(tmp_path, {"auths": {"registry.example": entry}})
    for text in ("{", "[]"):
        with pytest.raises(CredentialsUnreadable, match=r"config\.json"):
            found(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("certs = 1 2", "no TOML.*line 1"),
        ("cert = []", "unknown setting 'cert'"),
        ('certs = "/x"', "list of directories"),
        ('[mirrors]\n"docker.io" = "x"', "mirrors must be a table"),
        ("largest_layer_mib = 0", "at least 1"),
        ("largest_layer_mib = true", "whole number"),
    ],
)
def test_wrong_settings(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "images.toml").write_text(text)
    with pytest.raises(InvalidSettings, match=rf"images\.toml: .*{fault}"):
        settings.read(tmp_path / "images.toml")


def test_settings(tmp_path: Path) -> None:
    assert settings.read(tmp_path / "none") == settings.ImageSettings()
    (tmp_path / "images.toml").write_text('certs = ["/c"]\nlargest_layer_mib = 2\n[mirrors]\n"docker.io" = ["m/hub"]\n')
    read = settings.read(tmp_path / "images.toml")
    assert read.certs == (Path("/c"), *settings.CERTS)
    assert (read.mirrors, read.largest_layer_bytes) == ({"docker.io": ("m/hub",)}, 2 << 20)
