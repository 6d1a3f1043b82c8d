"""Who we are to a registry: ~/.docker/config.json, its helpers and its store, as `docker login` leaves it."""

from __future__ import annotations

import base64
import binascii
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.errors import CredentialsUnreadable

HELPER_TIMEOUT_S = 30.0
DOCKER_HUB = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"  # noqa: S105 - a helper answers with this name when its secret is an identity token
_ABSENT = "credentials not found"


@dataclass(frozen=True)
class Credentials:
    """`origin` says where they were found."""

    user: str
    secret: str = field(repr=False)
    origin: str

    @property
    def is_token(self) -> bool:
        """Whether the secret is an identity token, which has no user."""
        return self.user == _TOKEN_USER

    def as_authfile(self, host: str) -> str:
        """In the form in which skopeo reads them from a file; on its command line everybody would see them."""
        pair = base64.b64encode(f"{self.user}:{self.secret}".encode()).decode()
        entry = {"auth": pair}
        if self.user == _TOKEN_USER:
            entry = {"auth": base64.b64encode(f"{_TOKEN_USER}:".encode()).decode(), "identitytoken": self.secret}
        return json.dumps({"auths": {host: entry}})


def find(host: str, environ: Mapping[str, str]) -> Credentials | None:
    """What Docker's configuration has for this registry: its own helper, else the store, else what the file holds.

    Raises CredentialsUnreadable.
    """
    path = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME") or "/root") / ".docker") / "config.json"
    config = _read(path)
    keys = (DOCKER_HUB, host) if host == "docker.io" else (host, f"https://{host}", f"https://{host}/v1/")
    helpers = config.get("credHelpers") or {}
    named = next((helpers[key] for key in keys if key in helpers), None)
    for helper in filter(None, (named, config.get("credsStore"))):
        for key in keys:
            if found := _ask(str(helper), key, environ):
                return found
    auths = config.get("auths") or {}
    return next((_stored(auths[key], key, path) for key in keys if auths.get(key)), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        raise CredentialsUnreadable(f"{path} cannot be read: {err}", hint="Mend or delete the file.") from err
    if not isinstance(found, dict):
        raise CredentialsUnreadable(f"{path} is no JSON object", hint="Mend or delete the file.")
    return found


def _stored(entry: Any, key: str, path: Path) -> Credentials | None:
    try:
        if token := entry.get("identitytoken"):
            return Credentials(_TOKEN_USER, str(token), str(path))
        if not entry.get("auth"):
            return None  # what `docker login` leaves where a helper has the secret
        user, colon, secret = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    except (AttributeError, TypeError, binascii.Error, UnicodeDecodeError):
        user = colon = secret = ""
    if not colon:
        raise CredentialsUnreadable(
            f"{path}: the entry of {key} is no base64 of USER:PASSWORD", hint=f"Log in again: docker login {key}"
        )
    return Credentials(user, secret, str(path))


def _ask(helper: str, key: str, environ: Mapping[str, str]) -> Credentials | None:
    """The protocol of docker-credential-helpers: the server on stdin, JSON on stdout."""
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"],
            check=False,
            input=key,
            capture_output=True,
            text=True,
            timeout=HELPER_TIMEOUT_S,
            env=dict(environ),
        )
    except FileNotFoundError:
        raise CredentialsUnreadable(
            f"{program} is not installed",
            hint="Install this credential helper, or take it out of Docker's config.json.",
        ) from None
    except (OSError, subprocess.TimeoutExpired) as err:
        raise CredentialsUnreadable(f"{program} failed: {err}") from err
    if done.returncode:
        if _ABSENT in (done.stdout + done.stderr).lower():
            return None
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-2:]
        raise CredentialsUnreadable(f"{program} has no credentials for {key}", details=tuple(words))
    try:
        found = json.loads(done.stdout)
        return Credentials(str(found["Username"]), str(found["Secret"]), program)
    except (ValueError, KeyError, TypeError):
        raise CredentialsUnreadable(f"{program} did not answer with Username and Secret") from None
