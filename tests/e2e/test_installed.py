"""What is installed is whole: the wheel carries templates and examples, and the commands start."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def test_the_wheel_carries_everything(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(CHECKOUT)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "share/hecd/templates/haproxy/conf.d/haproxy.toml",
        "share/hecd/templates/haproxy/templates/haproxy.cfg.j2",
        "share/hecd/examples/web/app.sh",
        "share/hecd/examples/web/compose.yaml",
        "registrator/spec/compose.schema.json",
        "etcdkit/proto/etcd_pb2.py",
        "runtime/host.py",
        "confd_py/cli/__init__.py",
    ):
        assert any(name.endswith(wanted) for name in names), wanted
    assert not any(name.startswith("tests/") for name in names)


def test_each_command_says_its_version() -> None:
    commands = {"hecd": "--version", "hecd-runtime": "--version", "confd-py": "-version", "registrator": "--version"}
    for name, word in commands.items():
        done = subprocess.run([str(Path(sys.executable).with_name(name)), word], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "0.1.0" in done.stdout + done.stderr


def test_completion_is_printed_for_each_shell() -> None:
    for shell in ("bash", "zsh", "fish"):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("hecd")), "completion", shell], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "_HECD_COMPLETE" in done.stdout
