"""What a PEM file of a certificate says of itself."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from pathlib import Path

LARGEST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Pem:
    """The first certificate in `text`: the names it is for, and from when until when, in seconds since the epoch."""

    text: str
    names: tuple[str, ...]
    begins_at: float
    ends_at: float

    def untimely(self, now: float) -> str:
        """Why it can't be used now; "" if it can."""
        if now >= self.ends_at:
            return f"it expired on {_day(self.ends_at)}"
        return f"it is not valid before {_day(self.begins_at)}" if now < self.begins_at else ""


def read_pem(path: Path) -> Pem:
    """The certificate in a file, with its chain and its key. Raises OSError, and ValueError that says what is wrong."""
    if path.stat().st_size > LARGEST_BYTES:
        raise ValueError(f"it is larger than {LARGEST_BYTES // 1024} KiB")
    data = path.read_bytes()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, password=lambda: "")
        return _read(data)
    except ssl.SSLError as err:
        raise ValueError(_words(err)) from err


def _read(data: bytes) -> Pem:
    from cryptography import x509  # late: it takes longer to import than all else here, and few edges have TLS

    first = x509.load_pem_x509_certificate(data)
    try:
        names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    except x509.ExtensionNotFound:
        found = [str(name.value) for name in first.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    begins_at, ends_at = first.not_valid_before_utc.timestamp(), first.not_valid_after_utc.timestamp()
    return Pem(data.decode("ascii", "replace"), tuple(name.lower() for name in found), begins_at, ends_at)


def _words(err: ssl.SSLError) -> str:
    if err.reason == "KEY_VALUES_MISMATCH":
        return "the key does not belong to the first certificate in it"
    return "it has to hold the certificate, its chain, and its key without a password, all as PEM"


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
