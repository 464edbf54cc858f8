"""What every service's process needs around its loop: signals, waiting, the supervisor's lifeline."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import uvloop
from redis.exceptions import RedisError

from tally import early_signals
from tally.layout import LayoutRefused
from tally.log_events import STOPPING
from tally.redis_location import DEFAULT_URL, is_at_rest, redis_url, with_server_found
from tally.refused import Refused, refused
from tally.settings import LogLevel, Settings, SettingsError, load
from tally.telemetry import configure, get_logger

#: Exit codes: a setting or argument is wrong; the work itself failed.
EXIT_USAGE, EXIT_FAILURE = 2, 1

#: How a module of ours is started, in safe-path mode: `-m` alone would look for modules in the folder in which we were
#: started first, and that is the user's, with an `api.py` or a `random.py` of some project. A flag rather than
#: PYTHONSAFEPATH, which the programs of `exec:` would inherit.
PYTHON_MODULE = (sys.executable, "-P", "-m")

#: The variable with the number of a pipe's reading end whose writing end `tally up` holds: when it closes,
#: `tally up` is gone, however it ended, and so should we be.
LIFELINE_VARIABLE = "_TALLY_LIFELINE"


class Failure(Exception):
    """A service cannot go on, and trying again would not help. The text is for the person who started it."""

    exit_code = EXIT_FAILURE


class Misuse(Failure):
    """It was started wrongly: what it was given cannot be used."""

    exit_code = EXIT_USAGE


async def cancel_and_wait(task: asyncio.Future[Any], *, again_seconds: float = 0.5) -> None:
    """Cancel an endless task, and wait until it has ended, with whatever it raises.

    Once is not enough for one that speaks to Redis: before Python 3.12 asyncio.wait_for, by which redis-py sends, loses
    a cancellation that comes just when the sending is done, and the task would go on for ever.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=again_seconds)


@contextmanager
def stop_on_signals(
    stop: asyncio.Event, *, at_once: Callable[[], None] = lambda: None, most_seconds: float | None = None
) -> Iterator[None]:
    """Set `stop` on SIGINT and SIGTERM; a second one calls `at_once` and ends the process. Restores what was there.

    One that came while the process was being imported is the first one.

    With `most_seconds` the process ends so long after the first one, whatever it does then, and says on standard error
    where it was: a thread that does not come to an end would otherwise be waited for. Nothing depends on an orderly
    stop: it only makes the next start quicker.
    """
    loop = asyncio.get_running_loop()
    log = get_logger()

    def handle(received: signal.Signals) -> None:
        if stop.is_set():
            log.warning("stopping at once", signal=received.name)
            at_once()
            os._exit(128 + received)
        log.info(STOPPING, signal=received.name)
        early_signals.stops()
        begin_to_stop()

    def begin_to_stop() -> None:
        if most_seconds is not None:
            # By a thread that needs no interpreter. It is not called off: what is to end is the process.
            faulthandler.dump_traceback_later(most_seconds, exit=True, file=2)
        stop.set()

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    for each in before:
        loop.add_signal_handler(each, handle, each)
    if (early := early_signals.taken()) is not None:
        handle(early)
    lifeline = os.environ.get(LIFELINE_VARIABLE)
    if lifeline is not None:
        loop.add_reader(int(lifeline), _lifeline_cut, loop, int(lifeline), begin_to_stop)
    try:
        yield
    finally:
        if lifeline is not None:
            loop.remove_reader(int(lifeline))
        for each, handler in before.items():
            loop.remove_signal_handler(each)
            signal.signal(each, handler)


def _lifeline_cut(loop: asyncio.AbstractEventLoop, descriptor: int, begin_to_stop: Callable[[], None]) -> None:
    loop.remove_reader(descriptor)
    get_logger().warning(STOPPING, reason="tally up is gone")
    begin_to_stop()


def run_service(name: str, main: Any, *, stop_seconds: float | None = None, **overrides: Any) -> None:
    """Run `main(settings, stop)`, a coroutine function, as this process's only work, and exit with its outcome.

    It ends at the latest `stop_seconds` after it was told to.

    Settings that are wrong, and a Failure, end it with a sentence on standard error rather than a traceback.
    """
    settings = load_or_exit(**overrides)
    if is_at_rest(settings) and redis_url(settings) == DEFAULT_URL:
        # It would wait for a Redis of this machine, or worse, find one and count there.
        fail(
            f"the server of the data folder {settings.data_dir} does not run: start `tally up` first, or set "
            "TALLY_REDIS_URL to another Redis",
            code=EXIT_FAILURE,
        )
    configure(settings, service=name)

    async def body() -> None:
        stop = asyncio.Event()
        with stop_on_signals(stop, most_seconds=stop_seconds):
            await main(settings, stop)

    run_or_exit(body())


def load_or_exit(*, log_level: LogLevel | None = None, finds_server: bool = True, **overrides: Any) -> Settings:
    """Return the settings, or exit with what is wrong with them.

    How many shards there are, and the demo's namespace, is found in the data folder if it is not set, as where Redis
    is, if it `finds_server`.
    With `log_level` that one is theirs, for commands that log to a terminal; TALLY_LOG_LEVEL is checked all the same.
    """
    try:
        settings = load(**overrides)
    except SettingsError as error:
        fail(str(error), code=EXIT_USAGE)
    if finds_server:
        settings = with_server_found(settings)
    return settings if log_level is None else settings.model_copy(update={"log_level": log_level})


def run_or_exit(body: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on uvloop and return its result; a Failure, or what Redis refuses for good, becomes an exit."""
    _open_standard_descriptors()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(body)
    except Failure as error:
        fail(str(error), code=error.exit_code)
    except LayoutRefused as error:
        fail(str(error), code=EXIT_USAGE)
    except Refused as error:
        fail(str(error), code=EXIT_FAILURE)
    except RedisError as error:
        fail(str(refused(error)), code=EXIT_FAILURE)
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None


def _open_standard_descriptors() -> None:
    """Open 0, 1 and 2 where we were started without them, as by `nohup tally serve <&-`.

    The next file or socket would get the number, and what is written to standard error would go into it. uvloop aborts
    the process when it closes one of its own with such a number.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def fail(message: str, *, code: int) -> NoReturn:
    """Say what is wrong on standard error and exit."""
    sys.stderr.write("".join(f"tally: {line}\n" for line in message.splitlines()))
    raise SystemExit(code)
