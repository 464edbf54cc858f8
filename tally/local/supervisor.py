"""`tally up`: everything on one machine, each service in a process of its own, restarted when it dies."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tally.backoff import Backoff
from tally.clock import SYSTEM, Clock
from tally.local.log_events import SERVICE_DIED, STOPPING_SERVICE
from tally.runtime import EXIT_USAGE, LIFELINE_VARIABLE, PYTHON_MODULE, Failure
from tally.telemetry import get_logger

#: How long a service may take to stop before it is killed.
STOP_SECONDS = 15.0

#: A process that ran for so long is restarted at once, however often it was before.
STEADY_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A process to keep running: `python -m <arguments>`, with these variables besides our own."""

    name: str
    arguments: Sequence[str]
    variables: dict[str, str] = field(default_factory=dict)
    standard_input: bool = False  # it reads ours
    ends: bool = False  # it may end by itself, with 0
    most_failures: int | None = None  # so many one after the other are a Failure; None: it is always started again


class Supervisor:
    """Runs services, and stops them in the order of their data's flow: writers first, readers last."""

    def __init__(self, *, stop: asyncio.Event, clock: Clock = SYSTEM) -> None:
        self._stop = stop
        self._clock = clock
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._keeping: dict[str, asyncio.Task[int]] = {}
        # Closes with us, however we end; every service stops when it does.
        self._lifeline_end, self._lifeline = os.pipe()

    def start(self, service: Service) -> None:
        """Run it until it is stopped."""
        self._keeping[service.name] = asyncio.create_task(self._keep(service), name=f"keep {service.name}")

    async def wait(self, name: str) -> int:
        """Wait until a service that ends has ended; its exit code."""
        return await self._keeping[name]

    async def watch(self, tend: Callable[[], None], *, every_seconds: float = 0.2) -> None:
        """Until we are to stop: call `tend` again and again, in a thread, because it may take its time.

        Raises what `tend` raises, and Failure when a service cannot be run.
        """
        while not await self._clock.wait(self._stop, every_seconds):
            await asyncio.to_thread(tend)
            for task in self._keeping.values():
                if task.done():
                    task.result()

    async def stop_all(self) -> None:
        """Stop all services, in the order in which they were started."""
        log = get_logger()
        self._stop.set()
        for name, task in self._keeping.items():
            if task.done():
                continue
            log.info(STOPPING_SERVICE, name=name)
            if name in self._running:
                self._end(name)
            try:
                await asyncio.wait_for(asyncio.shield(task), STOP_SECONDS)
            except TimeoutError:
                log.warning("killing service", name=name)
                self._end(name, at_once=True)
            except Failure:
                pass
        await asyncio.gather(*self._keeping.values(), return_exceptions=True)
        os.close(self._lifeline)
        os.close(self._lifeline_end)

    def kill_all(self) -> None:
        """End all services at once."""
        for name in self._running:
            self._end(name, at_once=True)

    def _end(self, name: str, *, at_once: bool = False) -> None:
        process = self._running[name]
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill() if at_once else process.terminate()

    async def _keep(self, service: Service) -> int:
        log = get_logger().bind(name=service.name)
        backoff = Backoff(first_seconds=0.2, steady_seconds=STEADY_SECONDS, clock=self._clock)
        first = True
        while True:
            backoff.begin()
            process = await self._spawn(service)
            self._running[service.name] = process
            if self._stop.is_set():
                self._end(service.name)  # we were told to stop while it was being started
            code = await process.wait()
            if self._stop.is_set() or (service.ends and code == 0):
                return code
            delay_seconds = backoff.next_seconds()
            # What it was started with was right once; what it names, a file perhaps, may come back.
            if (code == EXIT_USAGE and first) or backoff.failures == service.most_failures:
                again = f", {backoff.failures} times in a row" if backoff.failures > 1 else ""
                raise Failure(f"{service.name} ended with exit code {code}{again}; see above")
            first = False
            log.error(SERVICE_DIED, exit_code=code, in_seconds=round(delay_seconds, 2))
            if await self._clock.wait(self._stop, delay_seconds):
                return code

    async def _spawn(self, service: Service) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *PYTHON_MODULE,
            *service.arguments,
            stdin=None if service.standard_input else asyncio.subprocess.DEVNULL,
            env={**os.environ, **service.variables, LIFELINE_VARIABLE: str(self._lifeline_end)},
            pass_fds=(self._lifeline_end,),
            start_new_session=True,  # so that Ctrl-C comes to us alone, and we stop them in order
        )
