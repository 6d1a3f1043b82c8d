"""HAProxy itself accepts what the shipped template renders, without a warning."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

GOLDEN = sorted((Path(__file__).parents[2] / "golden/haproxy").glob("*.cfg"))


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_haproxy_accepts_the_golden_files(golden: Path, tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    (tmp_path / "state").write_text("1\n")
    config.write_text(golden.read_text().replace("/run/haproxy", str(tmp_path)))
    done = subprocess.run(["haproxy", "-c", "-f", str(config)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
