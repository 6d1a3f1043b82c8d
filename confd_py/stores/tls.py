"""Certificates and keys in files, looked at before they are used: what is wrong with them is said by name."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from confd_py.errors import ConfigFault


def client_context(ca: str, cert: str, key: str) -> ssl.SSLContext:
    """A context that trusts `ca` and shows `cert`; "" for what is not used. Raises ConfigFault."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca:
        _try(ca, "-client-ca-keys", lambda: context.load_verify_locations(ca))
    if cert:
        _try(f"{cert} with {key}", "-client-cert and -client-key", lambda: context.load_cert_chain(cert, key))
    return context


def _try(shown: str, flags: str, load: Callable[[], None]) -> None:
    hint = f"Check {flags}: PEM files, and the key has to be that of the certificate."
    try:
        load()
    except FileNotFoundError as err:
        raise ConfigFault(f"{shown} cannot be read: {err.strerror}", hint=hint) from err
    except (OSError, ValueError) as err:  # ssl.SSLError is an OSError
        raise ConfigFault(f"{shown} cannot be used: {getattr(err, 'reason', None) or err}", hint=hint) from err
