"""Interpolation, .env and env_file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from registrator.model.service import Project, ServiceSpec
from registrator.spec import dotenv
from registrator.spec.interpolation import InterpolationFault, interpolate

SET = {"SET": "value", "EMPTY": "", "_x1": "u"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"), ("$SET", "value"), ("${SET}", "value"), ("$SET.", "value."), ("$_x1-", "u-"),
        ("a${SET}b", "avalueb"),
        ("$$SET", "$SET"), ("$$$SET", "$value"), ("$${SET}", "${SET}"), ("cost: 5$", "cost: 5$"), ("$1 $-", "$1 $-"),
        ("${SET:-d}", "value"), ("${EMPTY:-d}", "d"), ("${GONE:-d}", "d"), ("${SET-d}", "value"),
        ("${EMPTY-d}", ""), ("${GONE-d}", "d"),
        ("${SET:+a}", "a"), ("${EMPTY:+a}", ""), ("${GONE:+a}", ""), ("${SET+a}", "a"), ("${EMPTY+a}", "a"),
        ("${GONE+a}", ""),
        ("${SET:?e}", "value"), ("${SET?e}", "value"), ("${EMPTY?e}", ""),
        ("${GONE:-}", ""), ("${GONE:-${SET}}", "value"), ("${GONE:-${ALSO:-$SET!}}", "value!"),
        ("${GONE:-a b:c/d}", "a b:c/d"),
        ("${SET:-${GONE?e}}", "value"), ("${GONE:+${ALSO?e}}", ""), ("${GONE:-$$x}", "$x"), ("${GONE:-a}}", "a}"),
        ("${GONE-:-x}", ":-x"),
        ("$GONE", ""), ("${GONE}", ""),
    ],
)  # fmt: skip
def test_interpolation_as_the_specification_has_it(text: str, result: str) -> None:
    assert interpolate(text, SET) == result


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${GONE?}", "GONE is required"), ("${GONE:?set me}", "GONE is required: set me"),
        ("${EMPTY:?no}", "required: no"),
        ("${GONE:?${SET} $$}", "required: value $"), ("${GONE:-${ALSO:?deep}}", "ALSO is required: deep"),
        ("${SET", "after the name comes }"), ("${}", "no name"), ("${1}", "no name"),
        ("${SET/a/b}", "after the name comes }"), ("${SET:x}", "after the name comes }"),
        ("${GONE:-x", "no closing brace"), ("${A:-" * 30, "nested more than"),
    ],
)  # fmt: skip
def test_interpolation_that_can_not_be(text: str, words: str) -> None:
    with pytest.raises(InterpolationFault, match=words.replace("$", r"\$").replace("}", r"\}")):
        interpolate(text, SET)


def test_only_variables_that_are_used_and_have_no_default_are_told() -> None:
    told: list[str] = []
    interpolate("$A ${B:-x} ${C} ${SET:-$D} ${E:+$F} $$G", SET, told.append)
    assert told == ["A", "C"]


def test_the_file_of_variables() -> None:
    text = (
        "\ufeff# comment\n\nA=1\n  export B = two words  # comment\r\nC=a#b\n"
        "D='$A\\'s #'# c\nE=\"$A\\t\\$A\\\"\\\\ #\" # c\n"
        "F=${A}-${B:-x}\nG=\"two\nlines\"\nH=\nI: yaml\nHOST\nGONE\nJ=${K:-k}\nL='a\nb'\n"
    )
    assert dotenv.parse(text, {"HOST": "here", "A": "outside"}) == {
        "A": "1", "B": "two words", "C": "a#b", "D": "$A's #", "E": 'outside\t$A"\\ #', "F": "outside-two words",
        "G": "two\nlines", "H": "", "I": "yaml", "HOST": "here", "J": "k", "L": "a\nb",
    }  # fmt: skip


def test_a_raw_file_is_taken_as_it_stands() -> None:
    assert dotenv.parse("A='$x' # y\nB=\"\n", {}, raw=True) == {"A": "'$x' # y", "B": '"'}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A=1\n=2\n", "line 2"), ("a b=1", "line 1"), ("A='x", "not closed"), ("A='x' y", "follows the closing quote"),
        ("A=${B:?give it}", "line 1: A: the variable B is required: give it"), ("1A=2", "line 1"),
    ],
)  # fmt: skip
def test_a_line_that_is_not_understood_is_named(text: str, words: str) -> None:
    with pytest.raises(dotenv.DotenvFault, match=words):
        dotenv.parse(text, {})


def test_the_environment_counts_before_the_env_file(load: Callable[..., Project], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=file\nB=file\nTAG=${A}\n")
    project = load(
        "services: {web: {image: 'i:$TAG', user: '$A', labels: {b: $B, p: $COMPOSE_PROJECT_NAME}}}", {"A": "env"}
    )
    settings = project.services[0].settings
    assert (settings.image, settings.user, settings.labels) == ("i:env", "env", {"b": "file", "p": project.name})


def test_unset_variables_are_warned_of_once(load: Callable[..., Project]) -> None:
    project = load("services: {web: {image: i, labels: {a: $NO, b: $NO}}}\nx-other: {c: $NOT_READ}\n")
    assert project.warnings == ("the variable NO is not set; it counts as empty",)


def test_the_environment_of_a_container(one: Callable[..., ServiceSpec], tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=1\nB=1\nC=$HOST\n")
    (tmp_path / "b.env").write_text("B=2\nRAW=$A\n")
    (tmp_path / "raw.env").write_text("RAW='$A'\n")
    keys = (
        "env_file: [a.env, {path: b.env}, {path: raw.env, format: raw}, {path: no.env, required: false}]\n"
        "environment: {B: 3, D: true, E: 1.0, F: 1.5, HOST: , GONE: , EMPTY: '', G: \"a\\nb\"}\n"
    )
    assert one(keys, {"HOST": "h"}).settings.environment == {
        "A": "1", "B": "3", "C": "h", "RAW": "'$A'", "D": "true", "E": "1", "F": "1.5", "HOST": "h", "EMPTY": "",
        "G": "a\nb",
    }  # fmt: skip
    listed = one("environment: [A=1, B=, HOST, GONE, 'C=x=y']", {"HOST": "h"}).settings.environment
    assert listed == {"A": "1", "B": "", "HOST": "h", "C": "x=y"}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("env_file: no.env", "line 4: env_file: "), ("env_file: [{path: no.env, required: yes}]", "env_file[0]: "),
        ("env_file: bad.env", "line 1: not of the form"), ("env_file: latin.env", "is not UTF-8"),
        ("env_file: .", "no such file"),
        ("environment: ['=x']", "can't be the name"), ('environment: {"a\\nb": x}', "can't be the name"),
        ("environment: {a: [1]}", "environment.a: must be a text, a number or a boolean; is a list"),
        ("environment: {a: '${B?need b}'}", "environment.a: the variable B is required: need b"),
    ],
)  # fmt: skip
def test_an_environment_that_can_not_be(
    faults: Callable[..., list[str]], tmp_path: Path, keys: str, words: str
) -> None:
    (tmp_path / "bad.env").write_text("???\n")
    (tmp_path / "latin.env").write_bytes(b"A=\xe9\n")
    (found,) = faults(keys)
    assert words in found


def test_a_broken_env_file_beside_the_compose_file_is_a_fault(load: Callable[..., Project], tmp_path: Path) -> None:
    from registrator.spec import SpecError

    (tmp_path / ".env").write_text("A=1\n!\n")
    with pytest.raises(SpecError) as err:
        load("services: {web: {image: i}}")
    assert f"{tmp_path / '.env'}: line 2" in err.value.details[0]
