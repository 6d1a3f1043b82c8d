"""Corners of Go templates that random ones reached; what Go 1.19 puts out for them was written down."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from confd_py.cli.convert import convert
from confd_py.gotemplate import function
from confd_py.gotemplate.clock import Time
from confd_py.keyspace import KeySpace
from confd_py.render import Renderer

MOMENT = Time(datetime(2009, 2, 3, 4, 5, 6, 789000, tzinfo=UTC), 789000123)
KEYS = {"/up/1": "10.0.0.2:80", "/up/2": "10.0.0.1:80"}


def rendered(folder: Path, name: str, template: str) -> str:
    (folder / name).write_bytes(template.encode("utf-8", "surrogateescape"))
    renderer = Renderer(folder, name, "plain", KeySpace(KEYS), {})
    renderer._go_functions["moment"] = function("moment", lambda: MOMENT, "-> time")
    return renderer.render()


@pytest.mark.parametrize(
    ("template", "output"),
    [
        ("{{range seq 1 3}}{{break}}{{else}}E{{end}}", ""),
        ("{{range seq 1 3}}{{continue}}{{else}}E{{end}}", ""),
        ('{{range gets "/up/*"}}{{if ne .Value "z"}}{{continue}}{{end}}x{{else}}none{{end}}', ""),
        ('{{range gets "/no/*"}}{{if ne .Value "z"}}{{continue}}{{end}}x{{else}}none{{end}}', "none"),
        ("{{range seq 1 2}}{{range list}}{{else}}{{continue}}{{end}}x{{else}}O{{end}}", ""),
        ("{{range $i, $e := list}}{{break}}{{else}}E{{$i}}{{$e}}{{end}}", "E[][]"),
        ("{{$e := 5}}{{range $e = list}}{{break}}{{else}}E{{$e}}{{end}}{{$e}}", "E[][]"),
        ("{{$e := 5}}{{range $e = seq 1 3}}{{if eq $e 2}}{{break}}{{end}}{{else}}E{{end}}{{$e}}", "2"),
        (r'{{toJson "a\\b\\f"}} {{toJson "\b\f"}}', r'"a\\b\\f" "\u0008\u000c"'),
        (r'{{toJson "\xff"}}', r'"\ufffd"'),
        (r'{{fromJson "\"\\ud800\""}}{{fromJson "\"\\ud83d\\ude00\""}}', "\ufffd\U0001f600"),
        (r'{{(fromJson "{\"k\":[\"\\udfff\"]}").k}}', "[\ufffd]"),
        (r'{{fromJson "\"\xff\""}}', "\ufffd"),
        (r'{{regexReplaceAll "(?m)^" "a\nb" "> "}}', "> a\n> b"),
        ('{{regexReplaceAll "$" "ab" "x"}} {{regexReplaceAll "a*" "baac" "X"}}', "abx XbXcX"),
        (r'{{regexFind "[a-z]+" "\xff"}}{{regexMatch "a" "\xffa"}}', "true"),
        ('{{snakecase ""}}{{kebabcase "a_"}}{{camelcase "-a--b"}}{{camelcase "x ßa"}}', "aaBxßa"),
        (r'{{nospace "\x1c \xff"}}{{toUpper "\xff"}}', "\x1c\ufffd\ufffd"),
        ('{{dir "//a/b"}} {{dir "//"}} {{dir "a//b/"}}', "/a / a/b"),
        (r'{{printf "%#q %#q" "\u2028" "\ufeff"}}', '`\u2028` "\\ufeff"'),
    ],
)
def test_as_go(tmp_path: Path, template: str, output: str) -> None:
    assert rendered(tmp_path, "t.tmpl", template) == output
    assert rendered(tmp_path, "t.j2", convert(template, "t.tmpl")) == output


@pytest.mark.parametrize(
    ("template", "output"),
    [
        ("{{moment.Month.String}} {{moment.Weekday.String}} {{moment.Local.IsDST}}", "February Tuesday false"),
        ("{{moment.Round 1000000000}}", "2009-02-03 04:05:07 +0000 UTC"),
        ("{{((moment.AddDate 0 0 1).Sub moment).Round 86400000000000}}", "24h0m0s"),
        ("{{(moment.Sub (moment.Add 1500000000)).Round 1000000000}}", "-2s"),
        ("{{toJson moment}} {{toJson moment.Month}}", '"2009-02-03T04:05:06.789000123Z" 2'),
        ("{{eq moment moment}} {{ne moment moment.UTC}}", "true false"),
        ('{{printf "%#v" moment}}', "time.Date(2009, time.February, 3, 4, 5, 6, 789000123, time.UTC)"),
        ('{{moment.Format "Janua Jan2 Mond Mon, January"}}', "Janua Feb3 Mond Tue, February"),
    ],
)
def test_times(tmp_path: Path, template: str, output: str) -> None:
    assert rendered(tmp_path, "t.tmpl", template) == output


def test_what_range_refuses_it_refuses_with_break_and_else(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="range can't iterate over"):
        rendered(tmp_path, "t.tmpl", '{{range ""}}{{break}}{{else}}E{{end}}')
