"""The sample app's answers at a fraction of its cost: HAProxy gives them, so that the app is not what is measured."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from registrator.agent.drivers.runtime import build_layout

CONFIG = """\
global
    maxconn 500
    nbthread 1
defaults
    mode http
    timeout client 1m
    timeout connect 1s
    timeout server 1m
frontend app
    bind :8080
    http-request return status 200 if {{ path /health }}
    http-request return status 500 if {{ env(BROKEN) -m len gt 0 }}
    http-request return status 200 content-type text/plain string answered hdr X-Release "${{HECD_RELEASE}}" \
hdr X-Instance "${{HECD_INSTANCE}}"
# image {number}
"""


def build(layout: Path, number: int) -> None:
    """Write it as an OCI layout under the sample app's name, with the libraries that this machine's HAProxy needs."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    assert program is not None, "there is no haproxy"
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    needed = sorted(set(re.findall(r"(?:=> |^\s*)(/\S+) \(", told, re.MULTILINE)))
    base: dict[str, bytes | str] = {path.removeprefix("/"): Path(path).read_bytes() for path in needed}
    base["haproxy"] = Path(program).read_bytes()
    app: dict[str, bytes | str] = {"haproxy.cfg": CONFIG.format(number=number).encode()}
    build_layout(layout, f"hecd/sample:{number}", [base, app], ["/haproxy", "-db", "-f", "/haproxy.cfg"])
