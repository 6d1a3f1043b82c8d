"""Into the namespaces of a keeper: the command goes on in there, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from runtime.errors import KernelRefused
from runtime.linux import die_with_parent, join_namespaces
from runtime.process import readable

# What somebody may send to the command. SIGTSTP and SIGCONT act on both processes as they are.
PASSED_ON = frozenset(
    {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH}
)
_AWAITED = PASSED_ON | {signal.SIGCHLD}


def enter(pid: int) -> None:
    """Go on as root in the namespaces of this process. It is a child that does: who called stays outside, passes on
    what is sent to it alone, and ends as the child does; killed, it takes the child with it. Raises KernelRefused."""
    here = _working_directory()
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.pidfd_open(os.getpid())
    join_namespaces(pid)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    try:
        child = os.fork()
    except OSError as err:
        raise KernelRefused(f"cannot go on in the namespaces of process {pid}: {err.strerror}") from err
    if child:
        _stand_for(child)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    die_with_parent()
    if readable(parent, 0):  # it ended before that took effect
        os._exit(1)
    os.close(parent)
    os.chdir(here)


def _stand_for(child: int) -> NoReturn:
    while True:
        told = signal.sigwaitinfo(_AWAITED)
        if told.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                _end(os.waitstatus_to_exitcode(status))
        elif told.si_code <= 0:  # a process sent it; what the terminal sends, the child has got, too
            os.kill(child, told.si_signo)


def _end(code: int) -> NoReturn:
    if code < 0:
        with contextlib.suppress(OSError, ValueError):  # SIGKILL has no handler to put back
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
    os._exit(code)


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")
