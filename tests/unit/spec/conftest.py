"""Short ways to a project, and to the faults of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from registrator.model.service import Project, ServiceSpec
from registrator.spec import SpecError, load_project

Load = Callable[..., Project]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """The project of a text, whose files are in tmp_path."""

    def load(text: str, environment: Mapping[str, str] | None = None) -> Project:
        return load_project(text, environment or {}, tmp_path)

    return load


@pytest.fixture
def one(load: Load) -> Callable[..., ServiceSpec]:
    """The service whose keys (besides its image) are given."""

    def one(keys: str, environment: Mapping[str, str] | None = None) -> ServiceSpec:
        (service,) = load(web(keys), environment).services
        return service

    return one


@pytest.fixture
def faults(load: Load) -> Callable[..., list[str]]:
    """The faults of a service whose keys (besides its image) are given; the path of the service is left away."""

    def faults(keys: str, environment: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(SpecError) as err:
            load(web(keys), environment)
        return [str(f).replace("services.web.", "") for f in err.value.faults]

    return faults


def web(keys: str) -> str:
    """A file with one service; `keys` begin on line 4."""
    indented = "".join(f"    {line}\n" for line in keys.splitlines())
    return f"services:\n  web:\n    image: app\n{indented}"
