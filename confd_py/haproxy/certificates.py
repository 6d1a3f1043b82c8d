"""Certificates: PEM files of certificate, chain and key that a running HAProxy takes without a reload."""

from __future__ import annotations

import hashlib
import re
import ssl
from pathlib import Path

from confd_py.errors import HaproxyRefused
from confd_py.haproxy.session import Session

_LARGEST_BYTES = 15_000  # of a command; HAProxy's buffer holds 16,384 with everything
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_FINGERPRINT = re.compile(r"^SHA1 FingerPrint: ([0-9A-F]+)$", re.MULTILINE)


class CertificateFile:
    """A file that `crt` names by just this path; in `crt_list` (or directory) it is entered if it is new there."""

    def __init__(self, path: Path, crt_list: str = "") -> None:
        self._path = path
        self._crt_list = crt_list.rstrip("/")  # as HAProxy shows directories

    def check(self, text: str, staged: Path) -> None:
        """Raises HaproxyRefused unless `staged` holds a certificate with its own key, as OpenSSL reads them."""
        try:
            fingerprint(text)
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(staged, password=_no_password)
        except (ssl.SSLError, ValueError) as err:
            raise HaproxyRefused(
                f"{self._path} would be no certificate: {_why(err)}",
                hint="It has to hold the certificate, its chain, and its key without a password, all as PEM.",
            ) from err

    async def look(self, session: Session, text: str) -> bool | None:
        """Whether the process serves this certificate; None: its configuration does not name the file."""
        found = _FINGERPRINT.search(await session.ask(f"show ssl cert {self._path}"))
        if self._crt_list:
            listed = (await session.ask(f"show ssl crt-list {self._crt_list}")).splitlines()
            if not any(line.split(" ")[0] == str(self._path) for line in listed):
                return False if listed and listed[0].startswith("#") else None
        return None if found is None else found[1] == fingerprint(text)

    async def put(self, session: Session, text: str) -> int:
        """Have new connections get this certificate; commands sent. Raises HaproxyRefused."""
        pem = "\n".join(line for line in text.splitlines() if line.strip())
        if len(pem.encode()) > _LARGEST_BYTES:
            raise HaproxyRefused(
                f"{self._path} is larger than HAProxy takes while it runs ({_LARGEST_BYTES} bytes)",
                hint="Reload HAProxy: it reads the file then. Or leave out certificates that clients have anyway.",
            )
        name, commands = self._path, []
        if _FINGERPRINT.search(await session.ask(f"show ssl cert {name}")) is None:
            commands.append(f"new ssl cert {name}")
        commands += [f"set ssl cert {name} <<\n{pem}\n", f"commit ssl cert {name}"]
        answers = await session.run(commands)
        if "Success!" not in answers[-1]:
            await session.ask(f"abort ssl cert {name}")
            words = tuple(line for answer in answers for line in answer.splitlines())
            raise HaproxyRefused(f"HAProxy did not take the certificate {name}", details=words)
        if self._crt_list:
            commands.append(f"add ssl crt-list {self._crt_list} {name}")
            await session.ask(commands[-1])  # refused where it is listed already
        return len(commands)


def fingerprint(text: str) -> str:
    """SHA-1 of the first certificate in `text`, as HAProxy shows it. Raises ValueError if there is none."""
    found = _CERTIFICATE.search(text)
    if found is None:
        raise ValueError("there is none in it")
    return hashlib.sha1(ssl.PEM_cert_to_DER_cert(found[0]), usedforsecurity=False).hexdigest().upper()


def _why(err: Exception) -> str:
    if not isinstance(err, ssl.SSLError):
        return str(err)
    if err.reason == "KEY_VALUES_MISMATCH":
        return "the key does not belong to the certificate"
    return f"a certificate or its key is damaged or missing ({err})"


def _no_password() -> str:
    """Nobody is here to be asked for one."""
    return ""
