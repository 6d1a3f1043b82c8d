"""A template that never ends, or grows without end, says so in one line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from confd_py.errors import TemplateFault
from confd_py.gotemplate import rounds
from confd_py.keyspace import KeySpace
from confd_py.render import Renderer

ENDLESS = {
    "t.tmpl": "{{range seq 1 1000000}}{{range seq 1 1000000}}{{end}}{{end}}",
    "t.j2": "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
}
LAUGHS = (
    '{{define "t0"}}x{{end}}'
    + "".join(
        f'{{{{define "t{n}"}}}}{{{{template "t{n - 1}"}}}}{{{{template "t{n - 1}"}}}}{{{{end}}}}' for n in range(1, 40)
    )
    + '{{template "t39"}}'
)


def renderer(folder: Path, name: str, text: str) -> Renderer:
    (folder / name).write_text(text)
    return Renderer(folder, name, "plain", KeySpace({}), {})


@pytest.mark.parametrize("name", ENDLESS)
def test_rounds_of_loops_are_bounded(tmp_path: Path, name: str) -> None:
    with pytest.raises(TemplateFault, match=rf"{name}.*more than 10,000,000 rounds of its loops"):
        renderer(tmp_path, name, ENDLESS[name]).render()


@pytest.mark.parametrize("name", ENDLESS)
def test_each_rendering_counts_its_own_rounds(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_MOST_ROUNDS", 200)
    loop = "{{range seq 1 150}}x{{end}}" if name == "t.tmpl" else "{% for a in range(150) %}x{% endfor %}"
    found = renderer(tmp_path, name, loop)
    assert [found.render() for _ in range(3)] == ["x" * 150] * 3


def test_a_loop_of_jinja_knows_its_length_and_its_last_round(tmp_path: Path) -> None:
    loop = "{% for a in [1, 2, 3] if a > 1 %}{{ a }}/{{ loop.length }}"
    text = loop + "{{ '' if loop.last else ',' }}{% else %}-{% endfor %}"
    assert renderer(tmp_path, "t.j2", text).render() == "2/2,3/2"
    assert renderer(tmp_path, "t.j2", text.replace("[1, 2, 3]", "[]")).render() == "-"


def test_templates_that_call_each_other_twice_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_MOST_ROUNDS", 100_000)
    with pytest.raises(TemplateFault, match=r"t\.tmpl: more than 100,000 rounds"):
        renderer(tmp_path, "t.tmpl", LAUGHS).render()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.tmpl", '{{range seq 1 1000}}{{repeat 1000000 "x"}}{{end}}'),
        ("t.j2", '{% for a in range(1000) %}{{ repeat(1000000, "x") }}{% endfor %}'),
    ],
)
def test_output_is_bounded(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(TemplateFault, match=rf"{name}.*more than 64 MiB of output"):
        renderer(tmp_path, name, text).render()


@pytest.mark.parametrize("text", ['"x" * 10**9', "[1] * 10**9", "10**9 * 'x'", "9**(9**9)"])
def test_products_are_bounded(tmp_path: Path, text: str) -> None:
    with pytest.raises(TemplateFault, match=r"t\.j2:1: the result of \*+ would be too large"):
        renderer(tmp_path, "t.j2", f"{{{{ ({text}) }}}}").render()


@pytest.mark.parametrize("sum_", ["x ~ x", "x + x", "'a' ~ x ~ x ~ 'b'"])
def test_texts_that_double_in_a_loop_are_bounded(tmp_path: Path, sum_: str) -> None:
    text = f"{{% set n = namespace(x='ab') %}}{{% for i in range(60) %}}{{% set x = n.x %}}{{% set n.x = {sum_} %}}"
    with pytest.raises(TemplateFault, match=r"t\.j2:1: the result of [~+] would be too large"):
        renderer(tmp_path, "t.j2", f"{text}{{% endfor %}}").render()


def test_lists_that_double_in_a_loop_are_bounded(tmp_path: Path) -> None:
    text = "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}"
    with pytest.raises(TemplateFault, match=r"t\.j2:1: the result of \+ would be too large"):
        renderer(tmp_path, "t.j2", text).render()


def test_what_a_go_function_gives_is_bounded(tmp_path: Path) -> None:
    text = '{{$x := "ab"}}{{range seq 1 60}}{{$x = printf "%s%s" $x $x}}{{end}}'
    with pytest.raises(TemplateFault, match=r"t\.tmpl:1:.*printf gives more than 16 MiB"):
        renderer(tmp_path, "t.tmpl", text).render()


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("{{ 'a' ~ 1 ~ none ~ [2] }}", "a1None[2]"),
        ("{{ 1 + 2.5 }}{{ 'a' + 'b' }}{{ [1] + [2] }}", "3.5ab[1, 2]"),
        ("{% set x = 'a' %}{{ (x ~ 'b' ~ (x ~ 'c'))|upper }}{{ 'z' if x ~ 'b' == 'ab' }}", "ABACz"),
    ],
)
def test_sums_of_a_sensible_size_are_as_ever(tmp_path: Path, text: str, output: str) -> None:
    assert renderer(tmp_path, "t.j2", text).render() == output


def test_products_of_a_sensible_size_are_as_ever(tmp_path: Path) -> None:
    assert (
        renderer(tmp_path, "t.j2", "{{ 'ab' * 2 }}{{ 2 * 3.5 }}{{ 2 ** 10 }}{{ -1 * 2 }}").render() == "abab7.01024-2"
    )


@pytest.mark.parametrize("name", ["t.tmpl", "t.j2"])
def test_what_is_too_long_for_a_template_is_not_read(tmp_path: Path, name: str) -> None:
    found = renderer(tmp_path, name, "")
    with (tmp_path / name).open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(TemplateFault, match="is longer than 16 MiB"):
        found.render()


@pytest.mark.parametrize("name", ["t.tmpl", "t.j2"])
@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ('indent 10000000000 "a"', "indent: the result would be longer than 16 MiB"),
        ('nindent 10000000000 "a"', "indent: the result would be longer than 16 MiB"),
        ('repeat 10000000000 "a"', "repeat: the result would be longer than 16 MiB"),
        ('replace LONG "a" LONG -1', "replace: the result would be longer than 16 MiB"),
        ("join LIST LONG", "join: the result would be longer than 16 MiB"),
        ('regexReplaceAll "a" LONG LONG', "regexReplaceAll: the result would be longer than 16 MiB"),
        ('regexMatch "(a?){1000}b" LONG', "the expression has 4,005 states, too many for a text of 100,000 characters"),
    ],
)
def test_what_would_be_too_much_is_not_begun(tmp_path: Path, name: str, call: str, fault: str) -> None:
    word, *given = shlex.split(call, posix=False)
    if name == "t.tmpl":
        known = {"LONG": '(repeat 100000 "a")', "LIST": '(split (repeat 1000 "a") "")'}
        text = f"{{{{{word} {' '.join(known.get(one, one) for one in given)}}}}}"
    else:
        known = {"LONG": 'repeat(100000, "a")', "LIST": 'split(repeat(1000, "a"), "")'}
        text = f"{{{{ {word}({', '.join(known.get(one, one) for one in given)}) }}}}"
    with pytest.raises(TemplateFault, match=re.escape(fault)):
        renderer(tmp_path, name, text).render()
