"""The command line: confd's flags, and `check`, `diff` and `status` beside them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from confd_py import __version__, deadline
from confd_py.config import FLAGS, Config, build, read_config_file
from confd_py.errors import ConfdError, ConfigFault, StoreUnavailable, UsageError
from confd_py.flags import parse_flags, usage
from confd_py.observe.socket import default_socket, telling
from confd_py.observe.systemd import Notifier
from confd_py.opening import open_store

if TYPE_CHECKING:
    from confd_py.loop import Service

_LOOK_EVERY_S = 0.02
_log = logging.getLogger("confd-py")
COMMANDS = ("check", "diff", "status", "convert")


def main() -> None:
    """The console script."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # values may be no text at all
    code = run(sys.argv[1:], os.environ)
    if deadline.hanging():  # a thread inside of a library in C++ aborts the process that ends before it
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the arguments say; the exit code: 0 done, 1 failed, 2 not understood."""
    command, arguments = _command(arguments)
    try:
        values, words = parse_flags(arguments, FLAGS)
        if "help" in values:
            print(_usage(), file=sys.stderr)
            return 0
        if values.get("version"):
            print(f"confd-py {__version__}")
            return 0
        if command == "convert":
            return _convert(words)
        path = values.get("config-file") or environ.get("CONFD_CONFIG_FILE")

        def settings() -> Config:
            return build(values, environ, read_config_file(str(path) if path else None))

        config = settings()
        _log_to_stderr(config.log_level)
        if words and words[0] in COMMANDS:
            raise UsageError(f"{words[0]} is a command and stands first: confd-py {words[0]} [FLAGS]")
        if words:  # as in confd they end the flags and mean nothing, which a person may not have meant
            _log.warning("passed over: %s; commands, which stand first, are %s", " ".join(words), ", ".join(COMMANDS))
        return _dispatch(command, config, environ, settings)
    except UsageError as err:
        print(f"{err.brief}\n{_usage()}", file=sys.stderr)
        return err.exit_code
    except ConfdError as err:
        complain(err)
        return err.exit_code
    except KeyboardInterrupt:
        return 130


def complain(err: ConfdError) -> None:
    """One error for a person."""
    print(f"confd-py: {err.brief}", *(f"    {line}" for line in err.details), sep="\n", file=sys.stderr)
    if err.hint:
        print(f"    {err.hint}", file=sys.stderr)


def _usage() -> str:
    return f"{usage('confd-py', FLAGS)}\nCommands, before all flags: {', '.join(COMMANDS)}"


def _command(arguments: Sequence[str]) -> tuple[str, Sequence[str]]:
    if arguments and arguments[0] in COMMANDS:
        return arguments[0], arguments[1:]
    return "run", arguments


def _convert(words: Sequence[str]) -> int:
    """Print the Jinja2 twin of one Go template."""
    from confd_py.cli.convert import convert

    if len(words) != 1:
        raise UsageError("convert takes one file: confd-py convert FILE.tmpl")
    try:
        text = Path(words[0]).read_bytes().decode("utf-8", "surrogateescape")
    except OSError as err:
        raise ConfigFault(f"{words[0]} cannot be read: {err.strerror}") from err
    sys.stdout.buffer.write(convert(text, Path(words[0]).name).encode("utf-8", "surrogateescape"))
    return 0


def _dispatch(command: str, config: Config, environ: Mapping[str, str], settings: Callable[[], Config]) -> int:
    if command == "run":
        if config.mock:
            raise ConfigFault("-mock is for check and diff: its values are written nowhere", hint="Leave it away.")
        return asyncio.run(_once(config, environ) if config.onetime else _forever(config, environ, settings))
    from confd_py.cli import status  # only where it is needed: the service starts without it

    if command == "status":
        return status.show(config, environ)
    return asyncio.run(status.check(config, environ, open_store, show_diff=command == "diff"))


async def _once(config: Config, environ: Mapping[str, str]) -> int:
    from confd_py.loop import Service

    store = open_store(config, environ)
    try:
        service = Service(config, environ, store)
        faults = await service.once()
    finally:
        await store.close()
    for fault in faults:
        complain(fault)
    return 1 if faults else 0


async def _forever(config: Config, environ: Mapping[str, str], settings: Callable[[], Config]) -> int:
    """SIGTERM and SIGINT end it; SIGHUP reads confd.toml, conf.d and the templates again, and lets go of kept
    entries."""
    from confd_py.confdir import read_confdir
    from confd_py.loop import Service
    from confd_py.reloads import Reloads

    def readable() -> bool:
        """Whether what is to be read again can be; else all goes on as it is."""
        nonlocal config
        try:
            fresh = settings()
            read_confdir(fresh, environ)
        except ConfdError as err:
            _log.error("told to read everything again, but all goes on as it was: %s", err.brief)
            return False
        config = fresh
        return True

    loop = asyncio.get_running_loop()
    notifier = Notifier(environ)
    reloads = Reloads()  # one that is under way when everything is read again is waited for
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, signals.put_nowait, number)
    reread = False
    while True:
        store = open_store(config, environ)
        try:
            service = Service(config, environ, store, reloads)
            if reread:
                service.forget_memory()
            async with _observed(service, config, notifier):
                number = await _serve(service, signals, readable)
        finally:
            await store.close()
        if number != signal.SIGHUP:
            notifier.say("STOPPING=1")
            _log.info("told to stop signal=%s", number.name)
            return 0
        notifier.say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        _log.info("reading everything again signal=SIGHUP")
        reread = True


@contextlib.asynccontextmanager
async def _observed(service: Service, config: Config, notifier: Notifier) -> AsyncIterator[None]:
    """What others may look at while the service runs: its status socket, its metrics, its state in systemd."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            socket = Path(config.status_socket) if config.status_socket else default_socket(config.confdir)
            await stack.enter_async_context(telling(socket, service.states, lambda: service.trouble))
        except ConfigFault as err:
            if config.status_socket:
                raise
            _log.warning("there is no status socket error=%s", err.brief)
        if config.metrics_listen:
            from confd_py.observe.metrics import Metrics  # its library takes its time

            metrics = Metrics(service.states, lambda: service.trouble, lambda: service.faults)
            service.listeners.append(metrics.observe)
            await stack.enter_async_context(metrics.listening(config.metrics_listen))
        tasks = [asyncio.create_task(notifier.live()), asyncio.create_task(_tell_systemd(service, notifier))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _tell_systemd(service: Service, notifier: Notifier) -> None:
    if not notifier.heard:
        return
    while not service.started:  # noqa: ASYNC110 short, and once
        await asyncio.sleep(_LOOK_EVERY_S)
    notifier.say("READY=1")
    told = ""
    while True:
        wrong = [state.resource for state in service.states() if state.error]
        status = f"not in effect: {', '.join(wrong)}" if wrong else f"{len(service.workers)} resources in effect"
        status += f"; {service.trouble}" if service.trouble else ""
        if status != told:
            told = status
            notifier.say(f"STATUS={status}")
        else:
            notifier.say()  # what systemd did not take before
        await asyncio.sleep(1.0)


async def _serve(
    service: Service, signals: asyncio.Queue[signal.Signals], readable: Callable[[], bool]
) -> signal.Signals:
    """Until a signal ends it, or a SIGHUP finds everything readable."""
    serving = asyncio.create_task(service.forever())
    while True:
        told = asyncio.create_task(signals.get())
        await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
        if not told.done():
            told.cancel()
            raise _cause(serving.exception())
        if told.result() != signal.SIGHUP or readable():
            break
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    return told.result()


def _cause(err: BaseException | None) -> BaseException:
    """What is inside of a task group's exception; serving only ends by one."""
    while isinstance(err, BaseExceptionGroup):
        err = err.exceptions[0]
    return err or StoreUnavailable("the store stopped delivering")


def _no_end_of_watching(record: logging.LogRecord) -> bool:
    """watchdog calls it an error that an edit comes while it is told to end, as at each SIGHUP."""
    return "when the thread is inactive" not in record.getMessage()


def _log_to_stderr(level: str) -> None:
    names = {"warn": "WARNING", "fatal": "CRITICAL", "panic": "CRITICAL"}
    logging.basicConfig(
        stream=sys.stderr,
        level=names.get(level.lower(), level.upper() or "INFO"),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        force=True,
    )
    logging.getLogger("watchdog").setLevel("INFO")  # at DEBUG it tells of every event of every file
    logging.getLogger("watchdog.observers.inotify").addFilter(_no_end_of_watching)
