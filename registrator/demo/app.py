"""The image of the sample app: busybox and a page of shell, built on the spot without a registry."""

from __future__ import annotations

from pathlib import Path

from registrator.agent.drivers.runtime import build_layout
from registrator.errors import MissingProgram
from registrator.up.machine import data_dir

BUSYBOX = Path("/bin/busybox")


def build(layout: Path, release: int) -> str:
    """Write the image of `release` as an OCI layout at `layout`; its name. Raises MissingProgram."""
    if not BUSYBOX.exists():
        raise MissingProgram("busybox", "busybox-static")
    name = f"hecd/sample:{release}"
    base: dict[str, bytes | str] = {"bin/busybox": BUSYBOX.read_bytes(), "bin/sh": "busybox", "bin/usleep": "busybox"}
    app: dict[str, bytes | str] = {
        "app": (data_dir("examples") / "web" / "app.sh").read_bytes(),
        "tmp/.keep": b"",
        "release": f"{release}\n".encode(),
    }
    build_layout(layout, name, [base, app], ["/app"])
    return name
