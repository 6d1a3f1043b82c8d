"""Go templates against outputs recorded from the original confd; each case, and each case's Jinja2 twin, is a test."""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from confd_py.cli.convert import convert
from confd_py.errors import ConfdError
from confd_py.guard import Limits
from confd_py.render import Renderer
from confd_py.resource import parse_resource
from confd_py.stores.etcd import EtcdStore
from confd_py.view import View
from tests.fakes.etcd_server import EtcdServer

CASES = Path(__file__).parent / "cases"


@dataclass
class Case:
    values: dict[str, str]
    record: dict[str, Any]


def cases() -> Iterator[Any]:
    for name in ("template_cases.json", "more_template_cases.json"):
        stored = json.loads((CASES / name).read_text())
        for record in stored["cases"]:
            yield pytest.param(Case(stored["kv"], record), id=record["id"])


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    server = EtcdServer(tmp_path_factory.mktemp("etcd"))
    server.start()
    for key, value in json.loads((CASES / "template_cases.json").read_text())["kv"].items():
        server.etcdctl("put", "--", key, value)
    yield server
    server.stop()


async def seen(etcd: EtcdServer, toml: str) -> View:
    """What a resource sees of the store."""
    resource = parse_resource("t.toml", toml.replace("@DIR@", "/nowhere"), prefix="", expand=str)
    view = View(resource.keys, resource.prefix, Limits())
    store = EtcdStore([etcd.endpoint])
    try:
        batch = await store.read(resource.keys)
    finally:
        await store.close()
    view.take(view.relevant(batch), {}, 0.0)
    return view


def outcome(folder: Path, name: str, source: str, case: Case, view: View) -> tuple[int, str]:
    (folder / name).write_bytes(source.encode("utf-8", "surrogateescape"))
    try:
        return 0, Renderer(folder, name, "plain", view.keys, case.record.get("env", {})).render()
    except ConfdError as err:
        return 1, err.brief


@pytest.mark.parametrize("case", [*cases()])
def test_as_confd(case: Case, etcd: EtcdServer, tmp_path: Path) -> None:
    view = asyncio.run(seen(etcd, case.record["toml"]))
    expect = case.record["expect"]
    code, text = outcome(tmp_path, "t.tmpl", case.record["template"], case, view)
    assert code == expect["exit"], text
    if code == 0:
        assert text == expect["output"]
    else:  # the column is that of the failing word here, not of the one Go looked at last
        assert text.startswith("template: t.tmpl:1:")


# Jinja2 lists know no type of their own, and files lose their carriage returns on reading.
MORE_THAN_GO = ('{{join (jsonArray "[\\"a\\"]") ","}}',)


@pytest.mark.parametrize("case", [*cases()])
def test_twin(case: Case, etcd: EtcdServer, tmp_path: Path) -> None:
    """What `convert` prints puts out the same bytes, and fails where the original fails."""
    template, expect = case.record["template"], case.record["expect"]
    view = asyncio.run(seen(etcd, case.record["toml"]))
    try:
        twin = convert(template, "t.tmpl")
    except ConfdError as err:
        assert expect["exit"] == 1, err.brief
        return
    code, text = outcome(tmp_path, "t.j2", twin, case, view)
    if template in MORE_THAN_GO:
        assert (code, expect["exit"]) == (0, 1)
        return
    assert code == expect["exit"], (twin, text)
    assert code or text == expect["output"], twin


def test_cases_are_many() -> None:
    """A file that was not found, or lost its cases, must not pass for a success."""
    assert len(list(cases())) > 330
    assert all(tomllib.loads(param.values[0].record["toml"]) for param in cases())
