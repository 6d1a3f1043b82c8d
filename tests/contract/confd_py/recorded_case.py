"""One case recorded from confd: its files, its command line, and what came of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CASES = Path(__file__).parent / "cases"
_RECORDED_ETCD = "127.0.0.1:23790"  # stands literally in one recorded file
_STAGED = re.compile(r"(?<=/\.)(\w+?)\d{6,}$")  # `.<name><random digits>`


@dataclass(frozen=True)
class Outcome:
    """Exit code, and path -> {"content", "mode"} of every file below out/, in the recordings' notation."""

    exit: int
    files: dict[str, dict[str, str]]


def load(name: str) -> dict[str, Any]:
    """A file of recordings: `cases`, and `kv`, what etcd held."""
    found: dict[str, Any] = json.loads((CASES / name).read_text())
    return found


def run(case: Mapping[str, Any], folder: Path, etcd: str, argv: Sequence[str], environ: Mapping[str, str]) -> Outcome:
    """Lay the case out below `folder`, run `argv` with its arguments, and look what is there."""
    lay_out(case, folder, etcd)
    words = [_fill(word, folder, etcd) for word in case["args"]]
    variables = {**environ, **{name: _fill(value, folder, etcd) for name, value in case.get("env", {}).items()}}
    done = subprocess.run(
        [*argv, *words], cwd=folder, env=variables, capture_output=True, text=True, timeout=90, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Outcome(done.returncode, _seen(folder))


def lay_out(case: Mapping[str, Any], folder: Path, etcd: str) -> None:
    """The case's files, with their modes, and without what it removes."""
    for name in ("conf.d", "templates", "out"):
        (folder / name).mkdir(parents=True)
    for name, text in case["files"].items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(_fill(text, folder, etcd))
        place.chmod(int(case.get("modes", {}).get(name, "0o644"), 8))
    for name, target in case.get("links", {}).items():
        (folder / name).symlink_to(_fill(target, folder, etcd))
    for name in case.get("rm", []):
        place = folder / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()


def expected(case: Mapping[str, Any]) -> Outcome:
    """What the original did."""
    return Outcome(case["expect"]["exit"], case["expect"]["files"])


def _fill(text: str, folder: Path, etcd: str) -> str:
    return text.replace("@DIR@", str(folder)).replace("@ETCD@", etcd).replace(_RECORDED_ETCD, etcd)


def _seen(folder: Path) -> dict[str, dict[str, str]]:
    found = {}
    for place in sorted((folder / "out").rglob("*")):
        if place.is_file():
            name = _STAGED.sub(r"\1<random>", "/" + str(place.relative_to(folder)))[1:]
            text = place.read_bytes().decode("utf-8", "backslashreplace").replace(str(folder), "@DIR@")
            text = re.sub(r"(/\.\w+?)\d{6,}$", r"\1<random>", text, flags=re.MULTILINE)
            found[name] = {"content": text, "mode": oct(os.stat(place).st_mode & 0o7777)}
    return found
