"""A rewrite of the server's append-only file after each of its starts, before anything of ours is written to it.

A server that ends in the middle of writing a script's effects leaves half of them in its file, behind a MULTI without
an EXEC. Redis 7.0 and 8.0 load the file without that half, as they should, but do not always cut it off: the next EXEC
then ends both, and the next start, an orderly one too, applies the half with what follows it. Counts and positions were
rolled back together already, so that would count events twice. A rewrite is made of what was loaded, and puts what is
written from then on into a file of its own.

So every connection that may write asks first which start of the server it talks to. Where that is a new one, nothing is
sent until the rewrite has begun. From then on even a server that crashes again before the rewrite has ended is exact.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

from redis import exceptions
from redis.asyncio import Redis

from tally.backoff import Backoff
from tally.clock import SYSTEM, Clock
from tally.keys import Keys
from tally.log_events import REWRITE_FAILED, REWRITE_NOT_WAITED_FOR, REWRITE_WAITED_FOR
from tally.runtime import cancel_and_wait
from tally.store.client import connect
from tally.store.measured import MeasuredRedis
from tally.store.passing import passes_by_itself
from tally.telemetry import get_logger

#: How long nothing is written while the server cannot begin, because of another child process: a snapshot, a replica.
LONGEST_WAIT_SECONDS = 60.0

#: How often a rewrite that has begun is looked after.
POLL_SECONDS = 1.0

#: How long after a rewrite that failed it is asked for again, at first and at the most.
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 10.0, 600.0

#: What became of asking for a rewrite. One that has begun may have ended.
Outcome = Literal["begun", "scheduled", "failed", "refused"]

#: Sends one command and returns its reply, or raises the error that the server answered.
Send = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class ServerState:
    """What INFO says about a start of the server and its append-only file."""

    run_id: str
    loading: bool
    keeps_file: bool
    rewriting: bool
    scheduled: bool
    rewritten: bool  # since this start, and the last time with success

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> ServerState:
        """Read it off INFO's sections `server` and `persistence`; what a server does not say is 0, or -1, or ok."""
        return cls(
            run_id=str(info.get("run_id", "")),
            loading=int(info.get("loading", 0)) != 0,
            keeps_file=int(info.get("aof_enabled", 0)) != 0,
            rewriting=int(info.get("aof_rewrite_in_progress", 0)) != 0,
            scheduled=int(info.get("aof_rewrite_scheduled", 0)) != 0,
            rewritten=int(info.get("aof_last_rewrite_time_sec", -1)) >= 0
            and info.get("aof_last_bgrewrite_status", "ok") == "ok",
        )


@asynccontextmanager
async def connect_for_writing(
    url: str,
    *,
    timeout_seconds: float,
    keys: Keys,
    stop: asyncio.Event,
    tls: Mapping[str, str] | None = None,
    connect: Callable[..., MeasuredRedis] = connect,
) -> AsyncIterator[MeasuredRedis]:
    """Give a client whose connections see to the rewrite before they send anything; close it in the end.

    It is made by `connect`, with the arguments of client.connect. Its commands raise what those of such a client raise,
    and ConnectionError while the rewrite is waited for.
    """
    rewrite = Rewrite(keys=keys)
    redis = connect(url, timeout_seconds=timeout_seconds, tls=tls, on_connect=rewrite.on_connect)
    watching = asyncio.create_task(rewrite.watch(redis, stop), name="watch the rewrite")
    try:
        yield redis
    finally:
        await cancel_and_wait(watching)
        with suppress(asyncio.CancelledError):
            await watching
        await redis.aclose()


class Rewrite:
    """Asks each start of the server for one rewrite. Several services may ask: the server does one at a time."""

    def __init__(self, *, keys: Keys, clock: Clock = SYSTEM) -> None:
        self._note = keys.rewritten
        self._clock = clock
        self._seen = ""  # the start of the server of which we know that nothing is to be waited for
        self._waiting_for = ""  # the start whose rewrite cannot begin yet
        self._waiting_since = 0.0
        self._under_way = asyncio.Event()  # a rewrite of the start that we have seen last is to be looked after
        self._warned = False
        self._one_at_a_time = asyncio.Lock()

    # Before a connection is used.

    async def on_connect(self, connection: Any) -> None:
        """Greet the server as redis-py does, then see to the rewrite. Raises ConnectionError to be tried again."""
        try:
            await connection.on_connect()
            async with self._one_at_a_time:
                await self._meet(_sender(connection))
        except BaseException:
            # A cancelled connection would go back to the pool, and be used without any of this.
            await connection.disconnect(nowait=True)
            raise

    async def _meet(self, send: Send) -> None:
        try:
            state = ServerState.of(_parse(await send("INFO", "server", "persistence")))
        except exceptions.ResponseError as error:
            self._refused("INFO", error)
            return
        if state.loading:
            raise exceptions.BusyLoadingError("the server is loading its data")
        if state.run_id == self._seen:
            return
        if state.keeps_file and not await self._is_noted(send, state.run_id):
            outcome = await self._outcome(send, state)
            if outcome == "scheduled" and self._may_wait(state.run_id):
                raise exceptions.ConnectionError(REWRITE_WAITED_FOR)
            if outcome != "refused":
                self._under_way.set()
        self._seen = state.run_id

    async def _outcome(self, send: Send, state: ServerState) -> Outcome:
        if state.rewritten or state.rewriting:
            return "begun"
        return "scheduled" if state.scheduled else await self._ask(send)

    async def _is_noted(self, send: Send, run_id: str) -> bool:
        """Return whether a service has seen such a rewrite end well, whatever became of later ones."""
        try:
            return _text(await send("GET", self._note)) == run_id
        except exceptions.ResponseError as error:
            if passes_by_itself(error):
                raise
            return False

    async def _ask(self, send: Send) -> Outcome:
        try:
            reply = _text(await send("BGREWRITEAOF"))
        except exceptions.NoPermissionError as error:
            self._refused("BGREWRITEAOF", error)
            return "refused"
        except exceptions.ResponseError as error:
            if passes_by_itself(error):
                raise
            if "already in progress" in str(error):
                return "begun"
            if "unknown command" in str(error).lower():
                self._refused("BGREWRITEAOF", error)
                return "refused"
            # As when there is no memory for another process. The file that is written to is a new one all the same.
            get_logger().warning("the server cannot rewrite its append-only file now", error=str(error))
            return "failed"
        if "scheduled" in reply:
            return "scheduled"
        get_logger().info("the server was started: it rewrites its append-only file")
        return "begun"

    def _may_wait(self, run_id: str) -> bool:
        if self._waiting_for != run_id:
            self._waiting_for, self._waiting_since = run_id, self._clock.monotonic()
        waited_seconds = self._clock.monotonic() - self._waiting_since
        if waited_seconds < LONGEST_WAIT_SECONDS:
            return True
        get_logger().warning(REWRITE_NOT_WAITED_FOR, waited_seconds=round(waited_seconds))
        return False

    def _refused(self, command: str, error: exceptions.ResponseError) -> None:
        if passes_by_itself(error):
            raise error
        if not self._warned:
            self._warned = True
            get_logger().warning(
                "redis refuses the rewrite of its append-only file: after a crash in the middle of a write events may "
                "be counted twice, one start later; see docs/reliability.md",
                command=command,
                error=str(error),
            )

    # Afterwards.

    async def watch(self, redis: Redis, stop: asyncio.Event) -> None:
        """Look after each rewrite until `stop` is set: note it when it ends well, ask again when it fails.

        Counts are exact without that, too. But a server that crashes before one has ended well may fail to start once.
        """
        client: Any = redis
        backoff = Backoff(first_seconds=FIRST_RETRY_SECONDS, most_seconds=LAST_RETRY_SECONDS, clock=self._clock)
        while not stop.is_set():
            await self._under_way.wait()
            pause_seconds = POLL_SECONDS
            try:
                state = ServerState.of(await client.info("server", "persistence"))
                if state.rewritten:
                    await client.set(self._note, state.run_id)
                    self._under_way.clear()
                    backoff.reset()
                elif not (state.rewriting or state.scheduled):
                    pause_seconds = backoff.next_seconds()
                    get_logger().warning(
                        REWRITE_FAILED,
                        retry_in_seconds=round(pause_seconds),
                    )
                    if (
                        not await self._clock.wait(stop, pause_seconds)
                        and await self._ask(client.execute_command) == "refused"
                    ):
                        self._under_way.clear()
                    pause_seconds = POLL_SECONDS
            except (exceptions.RedisError, OSError):
                pause_seconds = FIRST_RETRY_SECONDS  # the service itself says what is wrong
            await self._clock.wait(stop, pause_seconds)


def _sender(connection: Any) -> Send:
    async def send(*words: str) -> Any:
        await connection.send_command(*words)
        return await connection.read_response()

    return send


def _parse(info: bytes | str) -> dict[str, str]:
    """INFO's reply, whose form redis-py knows only where it sends the command itself."""
    pairs = (line.partition(":") for line in _text(info).splitlines())
    return {name: value for name, _, value in pairs}


def _text(reply: Any) -> str:
    return reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)
