"""One service of a compose file."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path

from registrator.model.names import ServiceName
from registrator.model.release import Limits, Settings
from registrator.model.service import MAX_REPLICAS, Port, ServiceSpec, Update
from registrator.model.switch import BLUE_GREEN
from registrator.spec.bluegreen import is_blue_green
from registrator.spec.canary import canary_of
from registrator.spec.command import words_of
from registrator.spec.environment import environment_of, labels_of
from registrator.spec.field import Field
from registrator.spec.healthcheck import check_of, healthcheck_of
from registrator.spec.hooks import hooks_of
from registrator.spec.judge import judge_of
from registrator.spec.mounts import mounts_of
from registrator.spec.placement import placement_of
from registrator.spec.ports import ports_of
from registrator.spec.traffic import traffic_of
from registrator.spec.variables import is_ignored
from registrator.spec.wishes import wishes_of

LEAST_CPUS, LEAST_MEMORY_BYTES = 0.01, 4 << 20  # what engines take
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_IMAGE = re.compile(
    rf"(?:{_PART}(?::[0-9]{{1,5}})?/)?{_PART}(?:/{_PART})*"  # registry, then the name
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"  # tag, digest
)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?")
_DIRECTORY = re.compile(r"/[^\x00-\x1f\x7f]{0,4095}")
_RT_SIGNAL = re.compile(r"SIGRTM(IN(\+([1-9]|1[0-5]))?|AX(-([1-9]|1[0-4]))?)")


def service_of(
    name: str, place: Field, top: Field, base_dir: Path, variables: Mapping[str, str], volumes: Mapping[str, str]
) -> ServiceSpec:
    """The service at `place` of the file `top`, whose `volumes` have these names on a node; what is wrong in it stands
    in its findings."""
    _warn_of_lookalikes(place)
    check, ports, extra = check_of(place), ports_of(place), place["x-hecd"]
    return ServiceSpec(
        name=ServiceName(name),
        settings=Settings(
            image=place["image"].matching(_IMAGE, "an image, such as registry.example/web:1.2"),
            entrypoint=words_of(place["entrypoint"]),
            command=words_of(place["command"]),
            environment=environment_of(place, base_dir, variables),
            user=place["user"].matching(_USER, "USER or USER:GROUP"),
            working_dir=place["working_dir"].matching(_DIRECTORY, "an absolute path"),
            read_only=place["read_only"].truth(),
            mounts=mounts_of(place, base_dir, variables, volumes),
            limits=_limits(place["deploy"]["resources"]["limits"]),
            stop_signal=_signal(place["stop_signal"]),
            stop_grace_s=place["stop_grace_period"].duration_s(10.0),
            labels=labels_of(place),
            healthcheck=healthcheck_of(place, check),
            target_ports=tuple(dict.fromkeys(port.target for port in ports)),
            wishes=wishes_of(place, top, base_dir, variables),
        ),
        replicas=place["deploy"]["replicas"].whole(1, most=MAX_REPLICAS),
        update=_update(place["deploy"]["update_config"], extra, ports),
        traffic=traffic_of(name, extra, ports, check),
        placement=placement_of(place["deploy"]),
        hooks=hooks_of(extra["hooks"], variables),
    )


def _warn_of_lookalikes(place: Field) -> None:
    for key, _ in place.named():
        if is_ignored(key) and SequenceMatcher(None, key, "x-hecd").ratio() > 0.8:
            place.findings.warn(f"{key[:40]!r} is ignored; x-hecd is what hecd reads")


def _limits(place: Field) -> Limits:
    cpus, memory_bytes = place["cpus"].number(most=4096.0), place["memory"].size_bytes()
    if 0 < cpus < LEAST_CPUS:
        place["cpus"].fault(f"must be {LEAST_CPUS} or more, or 0 for as many as there are")
    if 0 < memory_bytes < LEAST_MEMORY_BYTES:
        place["memory"].fault("must be 4M or more, or 0 for as much as there is")
    return Limits(
        cpus=cpus,
        memory_bytes=memory_bytes,
        pids=place["pids"].whole(most=4_194_304),
    )


def _update(place: Field, extra: Field, ports: Sequence[Port]) -> Update:
    usual = Update()
    switches = is_blue_green(extra, place, ports)
    return Update(
        strategy=BLUE_GREEN if switches else usual.strategy,
        keep_s=extra["keep"].duration_s(usual.keep_s),
        canary=canary_of(extra, place, ports),
        judge=judge_of(extra, place, ports, switches),
        parallelism=place["parallelism"].whole(0 if switches else usual.parallelism, most=MAX_REPLICAS),
        delay_s=place["delay"].duration_s(usual.delay_s),
        monitor_s=place["monitor"].duration_s(usual.monitor_s),
        order=place["order"].text(usual.order),
        failure_action=place["failure_action"].text(usual.failure_action),
        max_failure_ratio=place["max_failure_ratio"].number(usual.max_failure_ratio, most=1.0),
        deadline_s=extra["progress_deadline"].duration_s(usual.deadline_s, least_s=1.0),
    )


def _signal(place: Field) -> str:
    """SIGTERM of `SIGTERM`, `term` and `15`."""
    text = place.text().upper()
    if not text:
        return ""
    name = text if text.startswith("SIG") else f"SIG{text}"
    if name in signal.Signals.__members__ or _RT_SIGNAL.fullmatch(name):
        return name
    try:
        return signal.Signals(int(text)).name
    except ValueError:
        place.fault(f"must be the name of a signal, such as SIGTERM; is {text[:40]!r}")
        return ""
