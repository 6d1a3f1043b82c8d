"""How containers are brought to their end, whichever engine runs them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod

from runtime.errors import StillAlive
from runtime.model import Container
from runtime.process import readable

KILL_TIMEOUT_S = 10.0


class Stopping(ABC):
    """What follows from signals and from hearing of ends."""

    @abstractmethod
    def inspect(self, name: str) -> Container:
        """Raises ContainerNotFound."""

    @abstractmethod
    def signal(self, name: str, signal: str) -> None:
        """Send a signal ("SIGTERM", "TERM" or "15") to its first process; fine if it has ended.
        Raises ContainerNotFound, InvalidSpec."""

    @abstractmethod
    def exit_fd(self, name: str) -> int | None:
        """A new file descriptor that is readable once the container has ended and its exit code is known; None if it
        does not run. The caller closes it. Raises ContainerNotFound."""

    def stop(self, name: str, grace_s: float = 10.0) -> Container:
        """Stop signal, `grace_s` of patience, then SIGKILL. Raises ContainerNotFound, StillAlive."""
        self.signal(name, self.inspect(name).spec.stop_signal or "SIGTERM")
        if not self.wait(name, grace_s):
            self.signal(name, "SIGKILL")
            if not self.wait(name, KILL_TIMEOUT_S):
                raise StillAlive(name)
        return self.inspect(name)

    def wait(self, name: str, timeout_s: float) -> bool:
        """Whether it has ended, at the latest after `timeout_s`. Raises ContainerNotFound."""
        fd = self.exit_fd(name)
        if fd is None:
            return True
        try:
            return readable(fd, timeout_s)
        finally:
            os.close(fd)
