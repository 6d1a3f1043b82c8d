"""Images from Dockerfiles: buildah builds them, if it is installed, in a store of its own that is gone afterwards."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from runtime.errors import BuildFailed, MissingProgram


def build(context: Path, dockerfile: Path | None, ref: str, root: Path, archive: Path) -> None:
    """Write the image to `archive`, an OCI archive; what buildah says goes to stderr. `root` is for drafts.
    Raises MissingProgram, BuildFailed."""
    if shutil.which("buildah") is None:
        raise MissingProgram("buildah", "buildah")
    with tempfile.TemporaryDirectory(prefix=".build-", dir=root) as draft:
        # Plain directories and a chroot: overlayfs on overlayfs and a second runtime would ask more of the host.
        program = ["buildah", "--root", f"{draft}/root", "--runroot", f"{draft}/run", "--storage-driver=vfs"]
        file = [f"--file={dockerfile}"] if dockerfile else []
        _run([*program, "build", "--isolation=chroot", "--format=oci", f"--tag={ref}", *file, str(context)])
        _run([*program, "push", "--quiet", ref, f"oci-archive:{archive}:{ref}"])


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, stdout=2)
    if done.returncode:
        raise BuildFailed(f"buildah ended with code {done.returncode}", hint="What it said stands above.")
