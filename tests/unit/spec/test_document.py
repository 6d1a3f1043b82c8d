"""YAML: scalars, lines, merge keys, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from registrator.spec import document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"), ("on", "on"), ("No", "No"), ("true", True), ("False", False), ("'true'", "true"),
        ("~", None), ("null", None), ("", None), ("12", 12), ("-3", -3), ("0x1F", 31), ("0o17", 15), ("0755", "0755"),
        ("1.50", 1.5), ("1e3", 1000.0), (".inf", float("inf")), ("-.INF", float("-inf")), ("22:22", "22:22"),
        ("2026-11-24", "2026-11-24"), ("1_000", "1_000"), ("!!str 12", "12"), ('!!int "12"', 12), ("=", "="),
        ("9" * 40, "9" * 40), ("<", "<"), ("0b11", "0b11"), ("2.5.1", "2.5.1"), ("[]", []), ("{}", {}),
    ],
)  # fmt: skip
def test_scalars_are_what_yaml_1_2_says(text: str, value: Any) -> None:
    parsed = document.parse(f"a: {text}\n")
    assert parsed.value == {"a": value} and type(parsed.value["a"]) is type(value) and not parsed.faults


def test_everything_has_a_line() -> None:
    parsed = document.parse("a:\n  b:\n    - 1\n    - c: 2\n  d: {e: 3}\n")
    assert [parsed.line(p) for p in ((), ("a",), ("a", "b", 1, "c"), ("a", "d", "e"), ("a", "nothing"))] == [
        1,
        1,
        4,
        5,
        1,
    ]


def test_merge_keys_and_anchors() -> None:
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  a: 3\nl: *x\nq: {'<<': 1}\n"
    parsed = document.parse(text)
    assert parsed.value["z"] == {"a": 3, "b": 1, "c": 2} and parsed.value["l"] == {"a": 1, "b": 1}
    assert parsed.value["q"] == {"<<": 1} and not parsed.faults
    assert parsed.line(("z", "a")) == 5 and parsed.line(("z", "c")) == 2


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\na: 2\n", 2, "twice; first on line 1"),
        ("a: [1\nb: 2\n", 2, "not valid YAML"),
        ("a: 1\n b: 2\n", 2, "not valid YAML"),
        ("a: *nothing\n", 1, "undefined alias"),
        ("a: 1\n---\nb: 2\n", 2, "single document"),
        ("a: !!python/object/apply:os.system ['false']\n", 1, "tag '!!python/object/apply:os.system' is not served"),
        ("a: !reset null\n", 1, "tag '!reset' is not served"),
        ("? [a, b]\n: 1\n", 1, "key that is not a text"),
        ("a: &a [*a]\n", 1, "holds itself"),
        ("a: &a\n  <<: *a\n", 1, "holds itself"),
        ("a: {<<: 1}\n", 1, "<< takes a mapping"),
        ('a: "\\0"\n', 1, "character that no text may hold"),
        ('a: "\\ud800"\n', 1, "character that no text may hold"),
        ('a: "\\UFFFFFFFF"\n', 0, "not valid YAML"),
        ("a: \x07\n", 0, "not valid YAML"),
        ("[" * 2000, 0, "nested too deeply"),
        ("- " * 200 + "1", 0, "nested too deeply"),
        ("x" * (document.MAX_BYTES + 1), 0, "larger than 1 MiB"),
    ],
)  # fmt: skip
def test_what_is_no_good_is_said_with_its_line(text: str, line: int, words: str) -> None:
    faults = document.parse(text).faults
    assert words in faults[0].text and faults[0].line == line and "\n" not in faults[0].text


def test_a_small_file_that_unfolds_without_end_is_refused() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    assert "unfolds" in document.parse(text).faults[0].text
