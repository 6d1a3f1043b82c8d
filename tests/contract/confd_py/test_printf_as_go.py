"""printf, format by format, beside what Go printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from confd_py.gotemplate.printf import sprintf
from confd_py.gotemplate.values import Strings

RECORDED = json.loads((Path(__file__).parent / "cases" / "printf_cases.json").read_text())
# In the order of "values" in the file, which has them as Go writes them.
VALUES: tuple[Any, ...] = (
    1.0, 0.0, -2.5, 1e21, 123456789.0, 0.1, 5e-324, 3.0, 1e-7, float("inf"), float("nan"), "héllo", -7, 42, True, None,
    Strings(["a", "b"]), {"k": 1.5, "n": None}, [1.0, "x", None, True], 255.75,
)  # fmt: skip


@pytest.mark.parametrize("form", RECORDED["cases"])
def test_as_recorded(form: str) -> None:
    assert [sprintf(form, value) for value in VALUES] == RECORDED["cases"][form]
