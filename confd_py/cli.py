"""The command line: confd's flags, and `check`, `diff` and `status` beside them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from confd_py import __version__
from confd_py.config import FLAGS, Config, build, read_config_file
from confd_py.errors import ConfdError, ConfigFault, StoreUnavailable, UsageError
from confd_py.flags import parse_flags, usage
from confd_py.opening import open_store

_log = logging.getLogger("confd-py")
COMMANDS = ("check", "diff", "status", "convert")


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the arguments say; the exit code: 0 done, 1 failed, 2 not understood."""
    command, arguments = _command(arguments)
    try:
        values, words = parse_flags(arguments, FLAGS)
        if "help" in values:
            print(usage("confd-py", FLAGS), file=sys.stderr)
            return 0
        if values.get("version"):
            print(f"confd-py {__version__}")
            return 0
        if command == "convert":
            return _convert(words)
        path = values.get("config-file") or environ.get("CONFD_CONFIG_FILE")
        config = build(values, environ, read_config_file(str(path) if path else None))
        _log_to_stderr(config.log_level)
        return _dispatch(command, config, environ)
    except UsageError as err:
        print(f"{err.brief}\n{usage('confd-py', FLAGS)}", file=sys.stderr)
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


def _command(arguments: Sequence[str]) -> tuple[str, Sequence[str]]:
    if arguments and arguments[0] in COMMANDS:
        return arguments[0], arguments[1:]
    return "run", arguments


def _convert(words: Sequence[str]) -> int:
    """Print the Jinja2 twin of one Go template."""
    from confd_py.convert import convert

    if len(words) != 1:
        raise UsageError("convert takes one file: confd-py convert FILE.tmpl")
    try:
        text = Path(words[0]).read_bytes().decode("utf-8", "surrogateescape")
    except OSError as err:
        raise ConfigFault(f"{words[0]} cannot be read: {err.strerror}") from err
    sys.stdout.buffer.write(convert(text, Path(words[0]).name).encode("utf-8", "surrogateescape"))
    return 0


def _dispatch(command: str, config: Config, environ: Mapping[str, str]) -> int:
    if command == "run":
        return asyncio.run(_once(config, environ) if config.onetime else _forever(config, environ))
    from confd_py import status  # only where it is needed: the service starts without it

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


async def _forever(config: Config, environ: Mapping[str, str]) -> int:
    """SIGTERM and SIGINT end it; SIGHUP reads conf.d and the templates again and lets go of kept entries."""
    from confd_py.loop import Service

    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, signals.put_nowait, number)
    reread = False
    while True:
        store = open_store(config, environ)
        try:
            service = Service(config, environ, store)
            if reread:
                service.forget_memory()
            number = await _serve(service, signals)
        finally:
            await store.close()
        if number != signal.SIGHUP:
            _log.info("told to stop signal=%s", number.name)
            return 0
        _log.info("reading everything again signal=SIGHUP")
        reread = True


async def _serve(service: object, signals: asyncio.Queue[signal.Signals]) -> signal.Signals:
    from confd_py.loop import Service

    assert isinstance(service, Service)
    serving = asyncio.create_task(service.forever())
    told = asyncio.create_task(signals.get())
    await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
    if not told.done():
        told.cancel()
        raise _cause(serving.exception())
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    return told.result()


def _cause(err: BaseException | None) -> BaseException:
    """What is inside of a task group's exception; serving only ends by one."""
    while isinstance(err, BaseExceptionGroup):
        err = err.exceptions[0]
    return err or StoreUnavailable("the store stopped delivering")


def _log_to_stderr(level: str) -> None:
    names = {"warn": "WARNING", "fatal": "CRITICAL", "panic": "CRITICAL"}
    logging.basicConfig(
        stream=sys.stderr,
        level=names.get(level.lower(), level.upper() or "INFO"),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        force=True,
    )
