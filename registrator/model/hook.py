"""A hook: a command that a release brings with it, run once in a container of its own before or after the release."""

from __future__ import annotations

from dataclasses import dataclass, field

from registrator.model.names import NodeName, ReleaseNumber, ServiceName

PRE_DEPLOY, POST_DEPLOY = "pre_deploy", "post_deploy"
HOOKS = (PRE_DEPLOY, POST_DEPLOY)
FEATURE = "hooks"  # the agent of a node that says so can run them


@dataclass(frozen=True)
class Hook:
    """What is run. `entrypoint` None is the service's, else the image's; `environment` goes over the service's."""

    command: tuple[str, ...]
    timeout_s: float = 300.0
    entrypoint: tuple[str, ...] | None = None
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hooks:
    """Those of one release."""

    pre_deploy: Hook | None = None
    post_deploy: Hook | None = None

    def named(self, name: str) -> Hook | None:
        """The hook of that name."""
        return {PRE_DEPLOY: self.pre_deploy, POST_DEPLOY: self.post_deploy}.get(name)


@dataclass(frozen=True)
class Run:
    """`/hecd/runs/<service>/<run>`: what a node must run to its end, once. Leader only.

    order: "run" · "stop" (end it now, keep what it wrote) · "remove" (end it and take it away).
    """

    run: str  # web.4.pre-deploy.1
    service: ServiceName
    release: ReleaseNumber
    hook: str  # one of HOOKS
    node: NodeName
    order: str = "run"
    reason: str = ""
    timeout_s: float = 300.0
    ordered_at: float = 0.0  # seconds since the epoch


# `state` of a result is one of:
# preparing: its image is being brought
# starting: written before the container is made; whoever finds it and no container must not start one again
# running
# passed: it ended with exit code 0
# failed: anything else; `reason` says what
OVER = ("passed", "failed")


@dataclass(frozen=True)
class Result:
    """`/hecd/results/<service>/<run>`: what became of a run. Its node's agent only; no lease, it outlives the agent."""

    run: str
    service: ServiceName
    release: ReleaseNumber
    hook: str
    node: NodeName
    state: str = "preparing"
    reason: str = ""
    log_tail: tuple[str, ...] = ()  # the last lines that it wrote
    started_at: float = 0.0  # seconds since the epoch, as the next one
    ended_at: float = 0.0
    ordered_at: float = 0.0  # that of its order: a name may come again after its service was removed

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in OVER


@dataclass(frozen=True)
class Passage:
    """How far a rollout is with one of its hooks.

    state: "waiting" (for a place, or for another run to end) · "ordered" · "passed" · "failed" · "skipped".
    """

    state: str = "waiting"
    run: str = ""
    node: str = ""
    since: float = 0.0  # seconds since the epoch
    reason: str = ""
    attempt: int = 1


def run_name(service: ServiceName, release: ReleaseNumber, hook: str, attempt: int) -> str:
    """`web.4.pre-deploy.1`: never that of an instance."""
    return f"{service}.{release}.{hook.replace('_', '-')}.{attempt}"
