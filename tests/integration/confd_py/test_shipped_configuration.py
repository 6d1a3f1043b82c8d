"""HAProxy and nginx themselves accept what the shipped templates render, without a warning."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.integration.confd_py.apps import certificate
from tests.integration.confd_py.parts import HAPROXY

HAPROXY_FILES = sorted((Path(__file__).parents[2] / "golden/haproxy").glob("*.cfg"))
NGINX_FILES = sorted((Path(__file__).parents[2] / "golden/nginx").glob("*.conf"))


@pytest.mark.parametrize("golden", HAPROXY_FILES, ids=lambda path: path.stem)
def test_haproxy_accepts_the_golden_files(golden: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="haproxy-") as run:  # the names of sockets below have to be short
        config = Path(run, "haproxy.cfg")
        Path(run, "state").write_text("1\n")
        Path(run, "certificates").mkdir()
        Path(run, "certificates", "a.pem").write_text(certificate("a.example"))
        config.write_text(golden.read_text().replace("/run/haproxy", run))
        done = subprocess.run([HAPROXY, "-c", "-f", str(config)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize("golden", NGINX_FILES, ids=lambda path: path.stem)
def test_nginx_accepts_the_golden_files(golden: Path, tmp_path: Path) -> None:
    config = tmp_path / "nginx.conf"
    text = golden.read_text().replace("/var/log/nginx", str(tmp_path)).replace("pid /run", f"pid {tmp_path}")
    config.write_text(text)
    done = subprocess.run(["nginx", "-t", "-q", "-c", str(config)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
