"""The image of the sample app: busybox and a page of shell, built on the spot without a registry."""

from __future__ import annotations

from pathlib import Path

from registrator.agent.drivers.runtime import build_layout
from registrator.errors import MissingProgram
from registrator.up.machine import data_dir

BUSYBOX = Path("/bin/busybox")
PORT = 8080


def build(layout: Path, release: int) -> str:
    """Write the image of `release` as an OCI layout at `layout`; its name. Raises MissingProgram."""
    if not BUSYBOX.exists():
        raise MissingProgram("busybox", "busybox-static")
    name = f"hecd/sample:{release}"
    base = {"bin/busybox": BUSYBOX.read_bytes(), "bin/sh": Path("busybox"), "bin/usleep": Path("busybox")}
    app = {"app": (data_dir("examples") / "web" / "app.sh").read_bytes(), "release": f"{release}\n".encode()}
    build_layout(layout, name, [base, app], command=("/app",), port=PORT)
    return name
