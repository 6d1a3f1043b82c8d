"""skopeo: asks one registry, with its certificates and our credentials, and says in our words what went wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import MissingProgram, RegistryUnavailable
from runtime.images import credentials
from runtime.images.credentials import Credentials
from runtime.images.reference import Reference
from runtime.images.refusal import refusal
from runtime.images.settings import ImageSettings
from runtime.process import readable

SHORT_TIMEOUT_S = 60.0
STALL_TIMEOUT_S = 120.0  # in which nothing of a download arrives
TICK_S = 0.1


class Skopeo:
    """`root` is for files with secrets, readable by root alone; they last as long as one call."""

    def __init__(self, root: Path, settings: ImageSettings, environ: Mapping[str, str]) -> None:
        self._root = root
        self._settings = settings
        self._environ = environ

    def mirrors(self, host: str) -> tuple[str, ...]:
        """Where to ask before this registry."""
        return self._settings.mirrors.get(host, ())

    def manifest(self, ref: Reference) -> bytes:
        """What stands in the registry, byte by byte."""
        return self._ask(ref, "--raw")

    def config(self, ref: Reference) -> bytes:
        return self._ask(ref, "--config", "--raw")

    def copy(self, ref: Reference, layout: Path, watch: Callable[[], int]) -> None:
        """Fetch the image into an OCI layout. `watch` is called now and then; the number it gives grows while bytes
        arrive."""
        args = ("--quiet", "--preserve-digests", "--dest-oci-accept-uncompressed-layers")
        with self._access(ref, "--src-") as (access, found):
            argv = [_program(), "copy", *access, *args, f"docker://{ref}", f"oci:{layout}:pulled"]
            with tempfile.TemporaryFile() as errors:
                child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
                _follow(child, watch, ref)
                errors.seek(0)
                words = errors.read().decode(errors="replace")
        if child.returncode:
            raise refusal(ref, words, found)

    def _ask(self, ref: Reference, *what: str) -> bytes:
        with self._access(ref, "--") as (access, found):
            argv = [_program(), "inspect", *access, *what, f"docker://{ref}"]
            try:
                done = subprocess.run(argv, check=False, capture_output=True, timeout=SHORT_TIMEOUT_S)
            except subprocess.TimeoutExpired as err:
                raise RegistryUnavailable(f"{ref.host} did not answer within {SHORT_TIMEOUT_S:.0f} s") from err
        if done.returncode:
            raise refusal(ref, done.stderr.decode(errors="replace"), found)
        return done.stdout

    @contextmanager
    def _access(self, ref: Reference, prefix: str) -> Iterator[tuple[list[str], Credentials | None]]:
        certs = self._settings.certs_of(ref.host)
        flags = [f"{prefix}cert-dir={certs}"] if certs else []
        if ref.local and not certs:
            flags.append(f"{prefix}tls-verify=false")  # loopback, as Docker has it
        found = credentials.find(ref.host, self._environ)
        if found is None:
            yield flags, None  # skopeo looks where podman and `skopeo login` keep theirs
            return
        with tempfile.NamedTemporaryFile("w", prefix=".auth-", dir=self._root) as file:  # mode 0600
            file.write(found.as_authfile(ref.host))
            file.flush()
            yield [*flags, f"{prefix}authfile={file.name}"], found


def _follow(child: subprocess.Popen[bytes], watch: Callable[[], int], ref: Reference) -> None:
    """Wait for the end; kill it if nothing arrives for too long, or if we are interrupted."""
    ended = os.pidfd_open(child.pid)
    seen, last = -1, time.monotonic()
    try:
        while not readable(ended, TICK_S):
            if (now := watch()) != seen:
                seen, last = now, time.monotonic()
            elif time.monotonic() - last > STALL_TIMEOUT_S:
                raise RegistryUnavailable(f"{ref.host} sent nothing for {STALL_TIMEOUT_S:.0f} s")
    finally:
        os.close(ended)
        if child.poll() is None:
            child.kill()
        child.wait()


def _program() -> str:
    program = shutil.which("skopeo")
    if program is None:
        raise MissingProgram("skopeo", "skopeo")
    return program
