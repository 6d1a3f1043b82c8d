"""Every wish of a release reaches the container, under the same name."""

from __future__ import annotations

from dataclasses import asdict, fields

from registrator.agent.drivers.runtime import _spec
from registrator.model.names import InstanceName, ReleaseNumber, ServiceName
from registrator.model.release import Device, LogLimits, MemoryFile, Mount, Release, Settings, Ulimit, Wishes
from registrator.registry.codec import decode, encode

WISHES = Wishes(
    (Ulimit("nofile", 1, 2),), {"net.core.somaxconn": "9"}, ("audio",), {"db": "10.0.0.9"}, ("9.9.9.9",),
    ("x.example",), ("ndots:2",), (MemoryFile("/f", "/s", None, 0o400, 1, 2),), ("NET_ADMIN",), ("ALL",),
    (Device("/dev/a", "/dev/b", "r"),), False, "unconfined", "host", True, True, LogLimits(8192, 3),
)  # fmt: skip
SETTINGS = Settings("i", mounts=(Mount("volume", "/v", "data"),), wishes=WISHES)
RELEASE = Release(ServiceName("web"), ReleaseNumber(1), SETTINGS)


def test_wishes_reach_the_container() -> None:
    spec = _spec(InstanceName("web.1"), RELEASE, "sha256:0", "node")
    for field in fields(Wishes):
        wanted = asdict(WISHES)[field.name]
        assert wanted != asdict(Wishes())[field.name], f"{field.name} is not tried"
        assert asdict(spec)[field.name] == wanted, field.name
    assert (spec.mounts[0].kind, spec.mounts[0].source, spec.privileged) == ("volume", "data", False)


def test_a_release_of_an_older_version_has_no_wishes() -> None:
    whole = encode(RELEASE)
    assert decode(Release, whole) == RELEASE
    older = whole.replace(b'"wishes":', b'"unknown":')
    assert decode(Release, older).settings.wishes == Wishes()
