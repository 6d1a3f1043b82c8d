"""A rollout: how far the change from one release to another has come."""

from __future__ import annotations

from dataclasses import dataclass, field

from registrator.model.canary import Trial
from registrator.model.hook import POST_DEPLOY, PRE_DEPLOY, Passage
from registrator.model.names import ReleaseNumber, ServiceName
from registrator.model.switch import Switch

# `state` is one of:
# preparing: its pre_deploy hook runs; nothing of what serves is touched
# canary: `release` serves beside `stable`, with a share of the requests by which it is judged
# warming: all instances of `release` start beside `stable`, and get no requests until all of them could
# rolling: steps are being made towards `release`
# monitoring: all steps made, failures still count until the window ends
# done: `release` is the stable one
# held: an operator holds it where it is; its deadline stands still
# rolling-back: `release` failed; steps are made back towards `stable`
# rolled-back: `stable` serves again; `reason` says why
# paused: failed with failure_action pause; somebody must decide
JUDGED = ("canary", "rolling", "monitoring")  # in which what it answers may be held against a release
ENDED = ("done", "rolled-back", "paused")


@dataclass(frozen=True)
class Rollout:
    """`/hecd/rollouts/<service>`, written by the leader only."""

    service: ServiceName
    release: ReleaseNumber  # the one wanted
    stable: ReleaseNumber  # the last one that was done; 0: none yet
    state: str = "rolling"
    reason: str = ""
    log_tail: tuple[str, ...] = ()
    failures: int = 0
    proven: tuple[ReleaseNumber, ...] = ()  # releases that were done once: what one may go back to
    next_number: int = 1  # of the next instance
    first_number: int = 0  # of the first instance since it began or was turned back
    started_at: float = 0.0  # seconds since the epoch, as the next three
    progress_at: float = 0.0  # last step
    ended_at: float = 0.0
    obeyed: float = 0.0  # `at` of the steering that was obeyed last
    promoted: bool = False  # an operator wants the rest of it now
    trial: Trial | None = None  # by what it is judged: how far its canary is, or since when it is watched without one
    weights: dict[str, int] = field(default_factory=dict)  # release -> weight of each server, where not the usual one
    switch: Switch | None = None  # of strategy blue-green: whom it takes the requests from, and since when
    hooks: dict[str, Passage] = field(default_factory=dict)  # hook -> how far it is
    prepared: tuple[ReleaseNumber, ...] = ()  # releases whose pre_deploy hook has passed
    wanted: int = 0  # of a service that is on every node: how many that is now

    def failed(self, release: ReleaseNumber) -> bool:
        """Whether it was `release` that ended otherwise than done."""
        return self.release == release and self.state in ("rolled-back", "paused")

    @property
    def hook(self) -> str:
        """The hook that it waits for now; "" if none."""
        if self.state == "preparing":
            return PRE_DEPLOY
        last = self.hooks.get(POST_DEPLOY)
        return POST_DEPLOY if self.state == "done" and last and last.state in ("waiting", "ordered") else ""

    @property
    def old(self) -> ReleaseNumber:
        """The release that it is to take the requests from."""
        return self.switch.old if self.switch is not None else self.stable

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it, not even a hook."""
        return self.state in ENDED and not self.hook

    @property
    def target(self) -> ReleaseNumber:
        """The release that instances should be of right now."""
        return self.stable if self.state in ("rolling-back", "rolled-back") else self.release
