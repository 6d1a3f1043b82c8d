"""What registries refuse, in our words: told from those of skopeo, Docker and Podman, which say it alike."""

from __future__ import annotations

from runtime.errors import (
    ImageNotFound,
    InvalidImage,
    RegistryDenied,
    RegistryUnavailable,
    RegistryUntrusted,
    RuntimeFault,
)
from runtime.images.credentials import Credentials
from runtime.images.reference import Reference

_ABSENT = ("manifest unknown", "name unknown", "not found", "repository does not exist")
_DENIED = ("unauthorized", "authentication required", "access denied", "access to the resource is denied",
           "invalid username/password", "status code 401", "status 401", "status 403", "403 (forbidden)",
           "no basic auth credentials")  # fmt: skip
_UNTRUSTED = ("x509:", "tls: bad certificate", "tls: unknown certificate", "certificate required")
_DAMAGED = ("digest did not match", "does not match provided manifest digest", "digest mismatch", "size mismatch")


def refusal(ref: Reference, words: str, found: Credentials | None, certs: str = "/etc/hecd/certs.d") -> RuntimeFault:
    """The error that `words` tell of. `found` is who we said we are, `certs` where who pulls looks for CAs."""
    lines = tuple(words.strip().splitlines()[-2:])
    low = words.lower()
    if any(word in low for word in _UNTRUSTED):
        return RegistryUntrusted(
            f"the certificate of {ref.host} is not trusted",
            details=lines,
            hint=f"Put the certificate of its CA into {certs}/{ref.host}/ca.crt; has it expired, renew it.",
        )
    if any(word in low for word in _DENIED):
        return _denied(ref, lines, found)
    if any(word in low for word in _DAMAGED):
        return InvalidImage(f"{ref.host} sent something else than {ref}", details=lines, hint="Push the image again.")
    if any(word in low for word in _ABSENT):
        return ImageNotFound(str(ref), details=lines)
    return RegistryUnavailable(f"{ref} is not on this host, and its registry cannot be read", details=lines)


def _denied(ref: Reference, lines: tuple[str, ...], found: Credentials | None) -> RegistryDenied:
    if found is None:
        return RegistryDenied(
            f"{ref.host} wants credentials for {ref.path}, or has no such image",
            details=lines,
            hint=f"Log in: `docker login {ref.host}` or `skopeo login {ref.host}`.",
        )
    return RegistryDenied(
        f"{ref.host} refuses {ref.path} to user {found.user!r} of {found.origin}",
        details=lines,
        hint=f"Is the password right, and may this user read the image? Log in again: docker login {ref.host}",
    )
