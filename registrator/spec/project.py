"""From a compose file to a Project."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registrator.model.names import LONGEST_SERVICE, is_service_name
from registrator.model.service import Project
from registrator.spec import document, shape
from registrator.spec.fault import Fault, SpecError
from registrator.spec.field import Field, Findings
from registrator.spec.service import service_of
from registrator.spec.variables import Filling, variables_of

_VOLUME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def load_project(path_or_text: Path | str, environment: Mapping[str, str], base_dir: Path) -> Project:
    """The project of a compose file, or of its text.

    `environment` has the variables; those of a .env in `base_dir` count where it has none. Relative paths in the file
    start from `base_dir`. Raises SpecError with every fault.
    """
    source, text = _read(path_or_text)
    parsed = document.parse(text)
    findings = Findings(parsed, list(parsed.faults), broken={f.path for f in parsed.faults})
    variables = variables_of(environment, base_dir, findings)
    tree = Filling(findings, _named(parsed.value, variables, base_dir)).tree(parsed.value, ())
    if tree is not None or not parsed.faults:
        for place, fault in shape.faults_of(tree):
            if place not in findings.broken:
                findings.fault(place, fault)
    project = _project(Field(tree, (), findings), base_dir, variables)
    if findings.faults:
        raise SpecError(source, _in_order(findings.faults))
    return project


def _read(path_or_text: Path | str) -> tuple[str, str]:
    if isinstance(path_or_text, str):
        return "the compose file", path_or_text
    try:
        with path_or_text.open("rb") as file:
            return str(path_or_text), file.read(document.MAX_BYTES + 1).decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise SpecError(str(path_or_text), (Fault((), f"is not UTF-8 (byte {err.start})"),)) from err
    except OSError as err:
        raise SpecError(str(path_or_text), (Fault((), f"can't be read: {err.strerror}"),)) from err


def _in_order(faults: list[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(dict.fromkeys(faults), key=lambda f: (f.line, [str(p) for p in f.path])))


def _named(value: Any, variables: dict[str, str], base_dir: Path) -> dict[str, str]:
    """`variables` with COMPOSE_PROJECT_NAME, as the specification asks."""
    name = value.get("name") if isinstance(value, dict) else None
    return {"COMPOSE_PROJECT_NAME": name if isinstance(name, str) else _directory_name(base_dir), **variables}


def _directory_name(base_dir: Path) -> str:
    return re.sub(r"[^a-z0-9_-]", "", base_dir.name.lower()).lstrip("_-")[:63] or "project"


def _project(root: Field, base_dir: Path, variables: Mapping[str, str]) -> Project:
    name = root["name"].matching(_NAME, "lower-case letters, digits, - and _", _directory_name(base_dir))
    if root["version"].value is not None:
        root.findings.warn("version is obsolete in Compose and is ignored")
    if isinstance(root.value, dict) and "x-hecd" in root.value:
        root["x-hecd"].fault("belongs inside a service")
    volumes = _volumes(root["volumes"], name)
    services = []
    for key, place in root["services"].named():
        if not is_service_name(key):
            wanted = f"lower-case letters, digits and -, at most {LONGEST_SERVICE}"
            place.fault(f"a service's name must be a DNS label: {wanted}")
        if isinstance(place.value, dict):
            services.append(service_of(key, place, root, base_dir, variables, volumes))
    return Project(name, tuple(services), tuple(root.findings.warnings))


def _volumes(places: Field, project: str) -> dict[str, str]:
    """What the volumes of the file are called on a node: as in Compose, with the project's name before their own."""
    found = {}
    for key in places.value if isinstance(places.value, dict) else ():
        usual = f"{project}_{key}"[:63]
        found[key] = places[key]["name"].matching(_VOLUME, "letters, digits, _, . and -, at most 63", usual)
        if not _VOLUME.fullmatch(found[key]):
            places[key].fault("the name of a volume has letters, digits, _, . and -")
    return found
