"""A template of Jinja2 that asks for too much is refused before anything is made, and what is sensible is as ever."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confd_py import sizes
from confd_py.errors import TemplateFault
from confd_py.gotemplate import rounds
from confd_py.keyspace import KeySpace
from confd_py.render import Renderer

HUGE = 10**10
TOO_LARGE = [
    f'"%{HUGE}d" % 1',
    f'"%*d" % ({HUGE}, 1)',
    f'"%.{HUGE}f" % 1',
    f'"%{HUGE}d"|format(1)',
    f'"%(n){HUGE}d"|format(n=1)',
    f'"{{:{HUGE}}}".format(1)',
    f'"{{:{{}}}}".format(1, {HUGE})',
    f'"{{a:{HUGE}}}".format_map({{"a": 1}})',
    f'"a"|center({HUGE})',
    f'"a".center({HUGE})',
    f'"a".ljust({HUGE})',
    f'"a".rjust({HUGE})',
    f'"1".zfill({HUGE})',
    f'"a\\tb".expandtabs({HUGE})',
    f'"a\\nb"|indent({HUGE})',
    '("a\\n" * 10000)|indent("x" * 10000)',
    '("ab" * 10000)|replace("a", "x" * 10000)',
    '("ab" * 10000).replace("a", "x" * 10000)',
    '("ab" * 10000).replace("", "x" * 10000)',
    '("a" * 10000).translate({97: "x" * 10000})',
    'range(10000)|join("x" * 10000)',
    '("x" * 10000).join(range(10000)|map("string"))',
    f"[1]|batch({HUGE}, 0)|list",
    f"[1]|slice({HUGE})|list",
    f"1.5|round({HUGE}, 'ceil')",
    f"(1)|round(-{HUGE}, 'common')",
    f"(1).to_bytes({HUGE}, 'big')",
    "(('f' * 100000)|int(base=16)) * 2",
    "(('f' * 100000)|int(base=16)) // 7",
    "([[1]] * 1000000)|sum(start=[])",
    f'"%(a(b)(c))%d%%%(a){HUGE}d" % 1',
    '("a" * 2000000)|list',
    '("a," * 1500000).split(",")',
    '("a " * 1500000).split()',
    'split("a," * 1500000, ",")',
    'replace("a" * 10000, "a", "x" * 10000, -1)',
    "[['x' * 100000] * 100000]",
]
REFUSED = r"^t\.j2:1: (the result of .* too large|split: more than 1048576 parts|replace: .* longer than 16 MiB)"
SENSIBLE = {
    '"%5d|%-5s|%.2f" % (1, "a", 1.5)': "    1|a    |1.50",
    '"%s" % 10000000000': "10000000000",
    '"id 99999999999 %s"|format("a")': "id 99999999999 a",
    '"%(a)s"|format(a=1)': "1",
    '"{:>5}|{a}".format(1, a=2)': "    1|2",
    '"{:{w}}".format(1, w=3)': "  1",
    '"{a}".format_map({"a": 1})': "1",
    '"a"|center(5) ~ "|"': "  a  |",
    '"a".ljust(3) ~ "a".rjust(3) ~ "7".zfill(3)': "a    a007",
    '"a\\nb"|indent(2)': "a\n  b",
    '"a\\nb"|indent("> ", first=true)': "> a\n> b",
    '"abab"|replace("a", "c", 1)': "cbab",
    '"a1"|replace(1, 2)': "a2",
    'replace("a" * 10000, "a", "x" * 10000, 1)|length': "19999",
    'dict("a", 1) == dict(a=1) == dict([("a", 1)]) == dict({"a": 1}) and dict() == {}': "True",
    'dict({"a": 1}, b=2)': "{'a': 1, 'b': 2}",
    '"abab".replace("a", "c")': "cbcb",
    '[1, "a", none]|join(",")': "1,a,None",
    '[{"n": 1}, {"n": 2}]|join("-", attribute="n")': "1-2",
    '",".join(["a", "b"])': "a,b",
    "[1, 2.5]|sum": "3.5",
    '[{"n": 1}, {"n": 2}]|sum(attribute="n")': "3",
    "[[1], [2, 3]]|sum(start=[])": "[1, 2, 3]",
    "[1, 2, 3]|batch(2, 0)|list": "[[1, 2], [3, 0]]",
    "2.567|round(2)": "2.57",
    '"ff"|int(base=16)': "255",
    "7 // 2 + 7 % 4 - 1 / 2": "5.5",
    '"100%% of %(a(b))s" % {"a(b)": 1}': "100% of 1",
    '"ab"|list + "a,b".split(",") + "a b".split()': "['a', 'b', 'a', 'b', 'a', 'b']",
    '[1, [2, {"a": (3, "x")}]]': "[1, [2, {'a': (3, 'x')}]]",
    "(1, 2) == (1, 2) and 1 in [1, 2] and {'a': 1}.a == 1": "True",
    "12345678901234567890 * 98765432109876543210": "1219326311370217952237463801111263526900",
    '""|default(99999999999, true)': "99999999999",
}


def rendered(folder: Path, text: str) -> str:
    (folder / "t.j2").write_text(text)
    return Renderer(folder, "t.j2", "plain", KeySpace({}), {}).render()


@pytest.mark.parametrize("expression", TOO_LARGE)
def test_too_large(tmp_path: Path, expression: str) -> None:
    begun_s = time.monotonic()
    with pytest.raises(TemplateFault, match=REFUSED):
        rendered(tmp_path, f"{{{{ {expression} }}}}")
    assert time.monotonic() - begun_s < 25, "it was made before it was refused"


@pytest.mark.parametrize("expression", SENSIBLE)
def test_sensible(tmp_path: Path, expression: str) -> None:
    assert rendered(tmp_path, f"{{{{ {expression} }}}}") == SENSIBLE[expression]


def test_numbers_that_double_their_digits_end(tmp_path: Path) -> None:
    text = "{% set n = namespace(x=3) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}"
    with pytest.raises(TemplateFault, match=r"t\.j2:1: the result of \* would be of too large a number"):
        rendered(tmp_path, text)


@pytest.mark.parametrize("pair", ["[n.a, n.a]", "(n.a, n.a)", '{"l": n.a, "r": n.a}', "list(n.a, n.a)", "[n.a] * 2"])
@pytest.mark.parametrize("use", ["{{ n.a == n.b }}", "{{ n.a|string|length }}", "{{ n.a }}"])
def test_lists_that_double_inside_are_bounded(tmp_path: Path, pair: str, use: str) -> None:
    """Each holds two of the one before: comparing or printing the last would take for ever."""
    step = f"{{% set n.a = {pair} %}}{{% set n.b = {pair.replace('n.a', 'n.b')} %}}"
    text = f"{{% set n = namespace(a=[1], b=[1]) %}}{{% for i in range(40) %}}{step}{{% endfor %}}{use}"
    with pytest.raises(TemplateFault, match=r"^t\.j2:1: the result of .* too large: more than 16 MiB with all"):
        rendered(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(40) }}",
        "{% for x in range(999) recursive %}{{ loop(range(999)) if loop.depth < 4 }}{% endfor %}",
    ],
)
def test_what_calls_itself_takes_rounds(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_MOST_ROUNDS", 100_000)
    with pytest.raises(TemplateFault, match="more than 100,000 rounds"):
        rendered(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.j2", "{% for x in range(99999) %}{% for y in range(99999) %}{% endfor %}{% endfor %}"),
        ("t.j2", "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(40) }}"),
        ("t.tmpl", '{{define "f"}}{{if .}}{{template "f" (sub . 1)}}{{template "f" (sub . 1)}}{{end}}{{end}}'
         '{{template "f" 40}}'),
    ],
)  # fmt: skip
def test_a_rendering_that_is_given_up_ends(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    renderer = Renderer(tmp_path, name, "plain", KeySpace({}), {})
    ended = threading.Event()

    def render() -> None:
        with contextlib.suppress(TemplateFault):
            renderer.render()
        ended.set()

    threading.Thread(target=render, daemon=True).start()
    assert not ended.wait(0.2)
    renderer.give_up()
    assert ended.wait(30.0)


def test_all_that_is_made_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_MOST_MADE", 1 << 20)
    text = "{% set n = namespace(x=[]) %}{% for i in range(60) %}{% set n.x = [n.x, 'x' * 100000] %}{% endfor %}"
    with pytest.raises(TemplateFault, match=r"the result of . is too large: more than 1 MiB with all that was made"):
        rendered(tmp_path, text)
    assert rendered(tmp_path, "{{ ('x' * 100000)|length }}") == "100000"  # each rendering has its own count


def test_filters_for_html_and_filler_are_not_there(tmp_path: Path) -> None:
    for text in ("{{ lipsum(10**9) }}", "{{ 'a'|striptags }}", "{{ 'a'|safe }}"):
        with pytest.raises(TemplateFault, match=r"t\.j2:1: (No filter named|'lipsum' is undefined)"):
            rendered(tmp_path, text)


TEXTS = st.text("ab\t\n%", max_size=20)
WIDTHS = st.integers(0, 40)


@given(text=TEXTS, old=TEXTS, new=TEXTS)
def test_a_replacement_is_no_larger_than_foreseen(text: str, old: str, new: str) -> None:
    assert len(text.replace(old, new)) <= sizes.of_call("replace", text, (old, new), {})


@given(text=TEXTS, width=WIDTHS)
def test_wider_text_is_no_larger_than_foreseen(text: str, width: int) -> None:
    for name in ("center", "ljust", "rjust", "zfill"):
        assert len(getattr(text, name)(width)) <= max(len(text), sizes.of_call(name, text, (width,), {}))
    assert len(text.expandtabs(width)) <= sizes.of_call("expandtabs", text, (width,), {})


@given(number=st.integers(), width=WIDTHS, digits=WIDTHS, text=TEXTS)
def test_formatted_values_are_no_larger_than_foreseen(number: int, width: int, digits: int, text: str) -> None:
    room = len(str(number)) + 400  # a number's own digits are few
    for format_, values in [(f"%{width}d.%-{width}s", (number, text)), ("%*d%.*f", (width, number, digits, 1.5))]:
        assert len(format_ % values) <= sizes.of_percent(format_, values) + room
    shown = f"{{:{width}}}{{:{{}}}}{{:.{digits}f}}"
    assert len(shown.format(number, text, width, 1.5)) <= sizes.of_format(shown, (number, text, width, 1.5), {}) + room
