"""Whatever is in a file: a project, or SpecError; and what comes out is safe to put into keys and configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from registrator.model.names import is_label
from registrator.model.service import Project
from registrator.spec import SpecError, load_project
from registrator.spec.compose_keys import COMPOSE_KEYS
from registrator.spec.interpolation import InterpolationFault, interpolate

SCHEMA = json.loads((Path(load_project.__code__.co_filename).parent / "compose.schema.json").read_text())
NOWHERE = Path("/nonexistent")


def known_words() -> list[str]:
    """Names that the parser knows, so that what is made up gets past the first check."""
    words = {key for keys in COMPOSE_KEYS.values() for key in keys}

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            words.update(node.get("properties", {}))
            words.update(v for v in node.get("enum", []) if isinstance(v, str))
            for value in node.values():
                walk(value)

    walk(SCHEMA)
    return sorted(words)


SOME_TEXT = st.one_of(
    st.sampled_from(
        [*known_words(), "8080:80", "/a:/b:ro", "1m30s", "64m", "${A:-x}", "$$", "${A?}", "CMD", "a\nb", "/p", "*.x"]
    ),
    st.text(max_size=12),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 70000), st.floats(), SOME_TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(SOME_TEXT, inner, max_size=5)),
    max_leaves=25,
)


def outcome(text: str) -> Project | SpecError:
    try:
        return load_project(text, {"A": "1"}, NOWHERE)
    except SpecError as err:
        assert err.faults and all("\n" not in line and line for line in err.details)
        return err


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    outcome(text)


@given(st.text(alphabet="abk:-[]{}&*!<>|'\"\n #%@`,?~\\x0", max_size=60))
def test_any_text_that_looks_like_yaml(text: str) -> None:
    outcome(text)


@settings(max_examples=300)
@given(VALUES)
def test_any_service(value: Any) -> None:
    outcome(yaml.safe_dump({"services": {"web": value}}, allow_unicode=True))


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(sorted(SCHEMA["definitions"]["service"]["properties"])), VALUES, max_size=5))
def test_any_values_of_known_keys(keys: dict[str, Any]) -> None:
    result = outcome(yaml.safe_dump({"services": {"web": {"image": "app", **keys}}}, allow_unicode=True))
    if isinstance(result, Project):
        (service,) = result.services
        words = [
            service.traffic.balance,
            service.traffic.check.path or "",
            service.settings.image,
            service.settings.user,
        ]
        words += [h for port in service.traffic.ports for h in port.hostnames]
        words += [text for mount in service.settings.mounts for text in (mount.source, mount.target)]
        assert all(word.isprintable() for word in words)
        assert all(0 < port.published < 65536 and 0 < port.target < 65536 for port in service.traffic.ports)
        assert 0 <= service.replicas <= 10_000 and service.settings.limits.memory_bytes >= 0


@given(st.text(max_size=70))
def test_a_name_is_a_dns_label_or_refused(name: str) -> None:
    result = outcome(yaml.safe_dump({"services": {name: {"image": "app"}}}, allow_unicode=True))
    assert isinstance(result, Project) == is_label(name)
    assert is_label(name) == (name.isascii() and name.replace("-", "a").isalnum() and name.lower() == name
                              and 0 < len(name) < 64 and name[0] != "-" != name[-1])  # fmt: skip


@given(st.text(alphabet="$${}:-?+AB x", max_size=40))
def test_interpolation_ends_with_a_text_or_its_own_fault(text: str) -> None:
    try:
        assert isinstance(interpolate(text, {"A": "1"}), str)
    except InterpolationFault as err:
        assert "\n" not in str(err)


@given(st.text(max_size=30))
def test_doubled_dollars_are_always_literal(text: str) -> None:
    assert interpolate(text.replace("$", "$$"), {"A": "1"}) == text
