"""Documents of the file store are printed as confd prints them (seen from the original, value by value)."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from confd_py.stores.document import flatten, print_plain


@pytest.mark.parametrize(
    ("plain", "printed"),
    [
        ("1", "1"), ("-0", "0"), ("+5", "5"), ("010", "8"), ("0x10", "16"), ("0b11", "3"), ("0o17", "15"),
        ("1_000", "1000"), ("9223372036854775807", "9223372036854775807"), ("9223372036854775808", None),
        ("1.5", "1.5"), ("1.0", "1"), ("1e3", "1e3"), ("1e+3", "1000"), ("1e+21", "1000000000000000000000"),
        ("0.00001", "0.00001"), ("5e-7", "0.0000005"), (".5", "0.5"), ("1.", "1."), ("-1.25", "-1.25"),
        (".inf", "+Inf"), ("-.inf", "-Inf"), (".nan", "NaN"),
        ("true", "true"), ("yes", "true"), ("Y", "true"), ("on", "true"), ("No", "false"), ("OFF", "false"),
        ("tRUE", "tRUE"), ("~", None), ("null", None), ("", None), ("nULL", "nULL"),
        ("2001-01-01", "2001-01-01"), ("12:30:45", "12:30:45"), ("1.2.3.4", "1.2.3.4"), ("hello", "hello"),
        ("08", "8"),
    ],
)  # fmt: skip
def test_plain_scalars(plain: str, printed: str | None) -> None:
    assert print_plain(plain) == printed


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("# only a comment", {}),
        ("null", {}),
        ("a: {b: [x, {c: z}]}", {"/a/b/0": "x", "/a/b/1/c": "z"}),
        ("a: '1.0'\nb: \"yes\"\nc: !!str 010", {"/a": "1.0", "/b": "yes", "/c": "010"}),
        ("a: !!binary aGVsbG8=\nb: !!int '7'\nc: !foo bar", {"/a": "hello", "/b": "7", "/c": "bar"}),
        ("a: |\n  two\n  lines\n", {"/a": "two\nlines\n"}),
        ("a/b: c\n/d: e\nf/: g\n../h: i", {"/a/b": "c", "/d": "e", "/f": "g", "/h": "i"}),
        ("'': x", {"/": "x"}),
        ("1: a\ntrue: b\n~: c", {"/1": "a", "/true": "b", "/~": "c"}),
        ("a: 1\na: 2", {"/a": "2"}),
        ("a: 1\n---\nb: 2", {"/a": "1"}),
        ("base: &b {x: 1, y: 2}\nd: {<<: *b, y: 3}", {"/base/x": "1", "/base/y": "2", "/d/x": "1", "/d/y": "3"}),
        ("d: {y: 3, <<: [{y: 1, x: 1}, {x: 2, z: 2}]}", {"/d/y": "3", "/d/x": "1", "/d/z": "2"}),
        ('{"u": "\\u00fc", "l": [], "o": {}}', {"/u": "ü"}),
    ],
)
def test_documents(text: str, values: dict[str, str]) -> None:
    assert flatten(text) == values


@pytest.mark.parametrize(
    "text", ["hello", "- a", "a: [", "a:\n\tb: 1", "a: &x [*x]", "? [a]\n: b", "a: {<<: 5}", "a: \x01"]
)
def test_what_is_no_mapping_of_names_is_refused(text: str) -> None:
    with pytest.raises((ValueError, yaml.YAMLError)):
        flatten(text)


@given(st.text(max_size=40) | st.text(alphabet="ab:-[]{}&*!<|>'\"\n ,?#%@1.", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        values = flatten(text)
    except (ValueError, yaml.YAMLError):
        return
    assert all(key.startswith("/") and isinstance(value, str) for key, value in values.items())
