"""From single probes to a verdict. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from registrator.model.release import Healthcheck, Settings


@dataclass(frozen=True)
class Health:
    """`verdict` is what is announced; `bad` counts failures in a row; `detail` is the last failure in words."""

    verdict: str = "unknown"
    bad: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Probe:
    """One look at an instance: did it answer well, and if not, what happened."""

    good: bool
    detail: str = ""


def check_of(settings: Settings) -> Healthcheck:
    """The check with its port filled in: the first that the instance serves on; no check where it serves on none."""
    check = settings.healthcheck
    if check.kind not in ("http", "tcp") or check.port:
        return check
    if not settings.target_ports:
        return replace(check, kind="none")
    return replace(check, port=settings.target_ports[0])


def judge(health: Health, probe: Probe, check: Healthcheck, age_s: float) -> Health:
    """The health after `probe`, `age_s` after the container started.

    One good answer makes it healthy. `retries` bad ones in a row make it unhealthy; while it has never been healthy,
    those within the start period are not counted.
    """
    if probe.good:
        return Health("healthy")
    if health.verdict == "unknown" and age_s < check.start_period_s:
        return replace(health, detail=probe.detail)
    bad = health.bad + 1
    verdict = "unhealthy" if bad >= check.retries else health.verdict
    return Health(verdict, bad, probe.detail)


def pace_s(health: Health, check: Healthcheck, age_s: float) -> float:
    """Seconds until the next probe: quick until the first good one, so that a start costs no more than it must."""
    if health.verdict != "unknown":
        return check.interval_s
    return min(check.start_interval_s if age_s < 5.0 else max(check.start_interval_s, 0.25), check.interval_s)
