"""Go templates beyond what was recorded: the fork's functions, includes, errors, and whatever hypothesis thinks of."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from confd_py.cli.convert import convert
from confd_py.errors import ConfdError, TemplateFault, UnsafeValue
from confd_py.gotemplate.clock import Time
from confd_py.keyspace import KeySpace
from confd_py.render import Renderer

KEYS = {"/app/name": "web", "/app/port": "8080", "/json": '{"a": [1, "x"], "n": 12345678}', "/evil": "a\nserver x"}


def render(folder: Path, template: str, target: str = "plain", **files: str) -> str:
    for name, text in {"t": template, **files}.items():
        (folder / f"{name}.tmpl").write_bytes(text.encode("utf-8", "surrogateescape"))
    return Renderer(folder, "t.tmpl", target, KeySpace(KEYS), {"HOME": "/h"}).render()


@pytest.mark.parametrize(
    ("template", "output"),
    [
        ('{{default "d" ""}}{{default "d" "x"}}{{default 5 0}}', "dx5"),
        ('{{ternary "a" "b" true}}{{false | ternary "a" "b"}}', "ab"),
        ('{{coalesce "" 0 "c"}}{{coalesce ""}}', "c<no value>"),
        ('{{empty ""}}{{empty (list)}}{{empty 1}}{{empty (dict)}}', "truetruefalsetrue"),
        ('{{toJson (dict "b" 1 "a" (list true nil "<"))}}', '{"a":[true,null,"\\u003c"],"b":1}'),
        ('{{toJson (fromJson "{\\"f\\":1.50,\\"g\\":1e21,\\"i\\":3}")}}', '{"f":1.5,"g":1e+21,"i":3}'),
        ('{{toPrettyJson (dict "a" (list 1) "b" (list))}}', '{\n  "a": [\n    1\n  ],\n  "b": []\n}'),
        ('{{indent 2 "a\\nb"}}|{{nindent 1 "a"}}|{{indent 3 ""}}', "  a\n  b|\n a|"),
        ('{{quote "a\\"b"}} {{squote "it\'s"}}', "\"a\\\"b\" 'it''s'"),
        ('{{regexMatch "^w.b$" "web"}} {{regexFind "[0-9]+" "a12b3"}}', "true 12"),
        ('{{regexReplaceAll "(a)(?P<n>b)" "abab" "${n}$1-$2x"}}', "ba-ba-"),
        ('{{trimPrefix "a-b" "a-"}}{{repeat 3 "x"}}{{repeat -1 "x"}}{{nospace " a b\\t"}}', "bxxxab"),
        (
            '{{snakecase "HTTPServerName"}} {{camelcase "my_var-name x"}} {{kebabcase "FooBar"}}',
            "http_server_name myVarNameX foo-bar",
        ),
        ('{{hasKey (dict "a" 1) "a"}} {{keys (dict "b" 1 "a" 2)}} {{values (dict "b" 1 "a" 2)}}', "true [a b] [2 1]"),
        ('{{append (list 1) "b"}} {{pluck "p" (dict "p" 80) (dict) (dict "p" "x")}}', "[1 b] [80 x]"),
        ('{{sha256sum "abc"}}', "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ('{{include "part.tmpl" "x"}}|{{include "part.tmpl"}}', "[x]|[<no value>]"),
        ("{% raw %}{{1}}{# {{2}} {{`{{`}} {", "{% raw %}1{# 2 {{ {"),
        ("a\r\n{{1}}\r\n", "a\r\n1\r\n"),
        ('\udcff{{len "\\xff"}}', "\udcff1"),
    ],
)
def test_functions_of_the_fork(tmp_path: Path, template: str, output: str) -> None:
    assert render(tmp_path, template, part="[{{.}}]") == output


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("a\n  {{nope 1}}", 't.tmpl:2:4: function "nope" not defined'),
        ("{{if true}}x", "t.tmpl:1:12: unexpected EOF"),
        ("é{{getv 5}}", 't.tmpl:1:9: executing "t.tmpl" at <5>: expected string; found 5'),
        ('\n{{range gets "/*/*"}}{{.Nope}}{{end}}', "t.tmpl:2:23:"),
        ('{{include "t.tmpl"}}', "include cycle detected"),
        ('{{include "../x.tmpl"}}', "outside template directory"),
        ('{{include "gone.tmpl"}}', "gone.tmpl cannot be read"),
        ('{{define "a"}}{{template "a"}}{{end}}{{template "a"}}', "without end"),
        ('{{regexMatch "(" "x"}}', "error parsing regexp"),
        ("{{seq 1 99999999}}", "more than 1000000 numbers"),
        ('{{repeat 999999999 "x"}}', "longer than 16 MiB"),
        ("{{range seq 1 2}}" * 30 + "{{end}}" * 30, "nested too deep"),
        ("{{" + "(" * 500, "nested more than"),
    ],
)
def test_faults_name_file_line_and_column(tmp_path: Path, template: str, words: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        render(tmp_path, template)
    assert words in caught.value.brief
    assert "\n" not in caught.value.brief


@pytest.mark.parametrize("target", ["haproxy", "nginx"])
def test_no_value_adds_a_line(tmp_path: Path, target: str) -> None:
    with pytest.raises(UnsafeValue):
        render(tmp_path, 'server {{getv "/evil"}}', target)
    with pytest.raises(UnsafeValue):
        render(tmp_path, '{{define "x"}}{{.}}{{end}}{{template "x" (getv "/evil")}}', target)
    assert (
        render(tmp_path, 'server {{getv "/app/name" | haproxy_token}}{{template "x"}}{{define "x"}} a b{{end}}', target)
        == "server web a b"
    )


def test_a_changed_template_is_compiled_again(tmp_path: Path) -> None:
    (tmp_path / "t.tmpl").write_text("{{1}}")
    renderer = Renderer(tmp_path, "t.tmpl", "plain", KeySpace(), {})
    assert renderer.render() == "1"
    (tmp_path / "t.tmpl").write_text("{{2}}")
    renderer.forget()
    assert renderer.render() == "2"


@pytest.mark.parametrize(
    "template",
    [
        '{{getv "/app/name"}}',
        '{{range gets "/app/*"}}{{.Value}}{{end}}',
        '{{(get "/app/name").Value}}',
        '{{$x := getv "/app/name"}}{{$x}}',
    ],
)
def test_values_are_read_at_each_rendering(tmp_path: Path, template: str) -> None:
    (tmp_path / "t.tmpl").write_text(template)
    (tmp_path / "t.j2").write_text(convert(template, "t.tmpl"))
    keys = KeySpace({"/app/name": "old"})
    renderers = [Renderer(tmp_path, name, "plain", keys, {}) for name in ("t.tmpl", "t.j2")]
    assert [renderer.render() for renderer in renderers] == ["old", "old"]
    keys.put("/app/name", "new")
    assert [renderer.render() for renderer in renderers] == ["new", "new"]


@pytest.mark.parametrize(
    ("layout", "written"),
    [
        ("2006-01-02T15:04:05Z07:00", "2015-01-03T13:04:05-08:00"),
        ("Jan _2 3:04pm 06 Monday __2 002", "Jan  3 1:04pm 15 Saturday   3 003"),
        ("Mon, 02 Jan 2006 15:04:05 -0700", "Sat, 03 Jan 2015 13:04:05 -0800"),
        ("15:04:05.000 .999999999 05,00", "13:04:05.093 .09325 05,09"),
        ("January 1 2 PM 4 5 -07", "January 1 3 PM 4 5 -08"),
    ],
)
def test_time_layouts(layout: str, written: str) -> None:
    from datetime import datetime, timedelta, timezone

    moment = datetime(2015, 1, 3, 13, 4, 5, tzinfo=timezone(timedelta(hours=-8)))
    assert Time(moment, 93_250_000).Format(layout) == written


@pytest.mark.parametrize(
    ("zone", "name"),
    [(None, "Local"), ("", "UTC"), ("UTC", "UTC"), (":Europe/Berlin", "Europe/Berlin"), ("No/Where", "UTC")],
)
def test_the_local_time_zone_has_the_name_of_tz(
    tmp_path: Path, zone: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if zone is None:
        monkeypatch.delenv("TZ", raising=False)
    else:
        monkeypatch.setenv("TZ", zone)
    names = "{{datetime.Location}} {{datetime.UTC.Location}} {{datetime.Location.String}}"
    assert render(tmp_path, names + ' {{printf "%T" datetime.Location}}') == f"{name} UTC {name} *time.Location"


def test_a_twin_reads_well() -> None:
    source = '{{range gets "/svc/*"}}{{if eq .Value "x"}}{{.Key}}{{end}}{{end}}'
    assert convert(source, "t.tmpl") == (
        '{% for dot_2 in gets("/svc/*")|each %}{% if (dot_2.Value == "x") %}{{ dot_2.Key }}{% endif %}{% endfor %}'
    )


TOKENS = """
{{ }} {{- -}} if range with else end define template block break continue . $ $x := = | ( ) "a" `b` 1 1.5 nil true .A
.Key $x.B getv gets json index len printf "/app/name" "/*/*" print slice eq and or not seq include datetime.Format ,
{% %} {# ' /* */
"""
WORDS = st.sampled_from(TOKENS.split()) | st.sampled_from([" ", "\n", "\r\n"]) | st.text(max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
@given(st.lists(WORDS, max_size=25).map("".join))
def test_random_templates_render_or_say_why(tmp_path: Path, template: str) -> None:
    try:
        render(tmp_path, template)
    except ConfdError as err:
        assert err.brief


PIECES = st.sampled_from(
    [
        "a\n",
        "  ",
        "{\n",
        "{{.}}",
        "{{$}}",
        '{{getv "/app/name"}}',
        "{{- 1 -}}",
        "{{$x := 1}}",
        "{{$x := 1}}{{$x = 2}}{{$x}}",
        "{{if true}}A{{else}}B{{end}}\n",
        "{{range seq 1 3}}{{.}}{{end}}\n",
        '{{range $i, $k := gets "/app/*"}}{{$i}}{{$k.Key}} {{end}}',
        '{{with json (getv "/json")}}{{.n}}{{range .a}}{{.}};{{end}}{{end}}',
        '{{printf "%v-%q" (seq 1 2) "x"}}',
        "{{/* c */}}\n",
        "{% x %}\n",
        "\t{{if false}}x{{end}}\n",
        '{{template "d" 5}}\n',
        '{{eq 1 2}}{{len "é"}}',
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_a_template_and_its_twin_agree(tmp_path: Path, template: str) -> None:
    template += '{{define "d"}}<{{.}}>{{end}}'
    expected = render(tmp_path, template)
    (tmp_path / "t.j2").write_text(convert(template, "t.tmpl"))
    assert Renderer(tmp_path, "t.j2", "plain", KeySpace(KEYS), {}).render() == expected
