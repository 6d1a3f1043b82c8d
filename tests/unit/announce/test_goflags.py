"""The flags, as Go's programs read theirs; and the command line's faults, as registrator tells them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from registrator.cli.announce import FLAGS, read_options
from registrator.cli.goflags import FlagFault, HelpAsked, parse
from registrator.errors import HecdError


@pytest.mark.parametrize("words", [["-ip=1.2.3.4"], ["-ip", "1.2.3.4"], ["--ip", "1.2.3.4"], ["--ip=1.2.3.4"]])
def test_shapes_of_a_flag(words: list[str]) -> None:
    values, rest = parse([*words, "etcd://h", "-more"], FLAGS)
    assert (values["ip"], rest) == ("1.2.3.4", ["etcd://h", "-more"])


@pytest.mark.parametrize(
    ("word", "name", "value"),
    [
        ("-internal", "internal", True),
        ("-internal=false", "internal", False),
        ("-internal=1", "internal", True),
        ("-resync=0x10", "resync", 16),
        ("-resync=010", "resync", 8),
        ("-retry-attempts=-1", "retry-attempts", -1),
        ("-tags=", "tags", ""),
        ("-useIpFromLabel=a=b", "useIpFromLabel", "a=b"),
    ],
)
def test_values(word: str, name: str, value: object) -> None:
    assert parse([word, "x"], FLAGS)[0][name] == value


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["-nope"], "flag provided but not defined: -nope"),
        (["-ip"], "flag needs an argument: -ip"),
        (["-resync=x"], 'invalid value "x" for flag -resync: parse error'),
        (["-resync=9223372036854775808"], 'invalid value "9223372036854775808" for flag -resync: value out of range'),
        (["-internal=maybe"], 'invalid boolean value "maybe" for -internal: parse error'),
        (["---ip"], "bad flag syntax: ---ip"),
        (["-=x"], "bad flag syntax: -=x"),
    ],
)
def test_faults(words: list[str], fault: str) -> None:
    with pytest.raises(FlagFault) as caught:
        parse(words, FLAGS)
    assert str(caught.value) == fault


def test_help_is_asked_for() -> None:
    for word in ("-h", "--help"):
        with pytest.raises(HelpAsked):
            parse([word], FLAGS)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "Missing required argument for registry URI."),
        (["etcd://h/x", "-ip=1"], 2, "Extra unparsed arguments"),
        (["-nope", "etcd://h/x"], 2, "flag provided but not defined: -nope"),
        (["-h"], 0, "-useIpFromLabel string"),
    ],
)
def test_what_is_said_with_the_usage(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        read_options(words, "registrator")
    assert ended.value.code == code
    out, err = capsys.readouterr()
    assert out == "" and said in err and "registrator [options] <registry URI>" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-ttl=10", "etcd://h/x"], "-ttl and -ttl-refresh must be specified together or not at all"),
        (["-ttl-refresh=10", "etcd://h/x"], "-ttl and -ttl-refresh must be specified together or not at all"),
        (["-ttl=10", "-ttl-refresh=10", "etcd://h/x"], "-ttl must be greater than -ttl-refresh"),
        (["-retry-interval=0", "etcd://h/x"], "-retry-interval must be greater than 0"),
        (["-deregister=never", "etcd://h/x"], '-deregister must be "always" or "on-success"'),
        (["consul://h:8500"], "unrecognized adapter: consul://h:8500"),
        (["-ip=name", "hecd://h:1"], "'name' is no address"),
    ],
)
def test_what_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(HecdError) as refused:
        read_options(words, "registrator")
    assert said in refused.value.brief


def test_numbers_below_nothing_are_none() -> None:
    options = read_options(["-resync=-1", "-ttl=-5", "etcd://h/x"], "registrator")
    assert (options.number("resync", 60), options.number("ttl", 30)) == (60, 30)


@pytest.mark.parametrize("program", [["registrator"], ["hecd", "announce"]])
def test_both_commands_take_the_words_as_they_are(program: list[str]) -> None:
    argv = [str(Path(sys.executable).with_name(program[0])), *program[1:], "-ip=1.2.3.4", "--internal", "consul://h"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{program[0]}: unrecognized adapter: consul://h")
