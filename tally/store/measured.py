"""A client that measures what it asks: how long each operation took, and whether Redis answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from time import perf_counter
from typing import Any
from weakref import WeakSet

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from tally.metrics import REDIS_RECONNECTS, REDIS_SECONDS, REDIS_UP
from tally.store.passing import passes_by_itself

#: The name of each script, by what is sent of it: its hash, or its text. `lua` fills it.
SCRIPT_NAMES: dict[str, str] = {}

_SCRIPT_COMMANDS = frozenset({"EVALSHA", "EVALSHA_RO", "EVAL", "EVAL_RO"})

#: ConnectionErrors to redis-py, but Redis has answered.
_REFUSES = (exceptions.AuthenticationError, exceptions.AuthorizationError)

_NO_ANSWER = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)

_child = cache(REDIS_SECONDS.labels)


class Answers:
    """Which clients of this process did not get an answer when they last asked."""

    def __init__(self) -> None:
        self._any = False
        self._unanswered: WeakSet[Redis] = WeakSet()

    def note(self, client: Redis, *, answered: bool) -> None:
        """Note what came of an operation."""
        self._any = True
        if not answered:
            self._unanswered.add(client)
        elif self._unanswered and client in self._unanswered:
            self._unanswered.discard(client)
            REDIS_RECONNECTS.inc()

    def all_are_there(self) -> bool:
        """Return whether something was asked, and no client asked in vain."""
        return self._any and not self._unanswered


answers = Answers()
REDIS_UP.set_function(answers.all_are_there)


class MeasuredRedis(Redis):
    """A client of one server."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Execute a command and return its reply."""
        began = perf_counter()
        try:
            reply = await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except (exceptions.RedisError, OSError) as error:
            _note(self, args, began, error)
            raise
        _note(self, args, began, None)
        return reply

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Return a pipeline."""
        made = _MeasuredPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        made.of_client = self
        return made


class _MeasuredPipeline(Pipeline):
    """Several commands in one round trip: an operation of their name if it is the same, else `pipeline`."""

    of_client: Redis

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Execute them and return their replies."""
        commands = [command for command, _ in self.command_stack]
        began = perf_counter()
        try:
            replies: list[Any] = await super().execute(raise_on_error)
        except (exceptions.RedisError, OSError) as error:
            _note(self.of_client, _common(commands), began, error)
            raise
        failed = next((reply for reply in replies if isinstance(reply, Exception)), None)
        _note(self.of_client, _common(commands), began, failed)
        return replies


def _common(commands: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """Return what names the operation that these commands are."""
    names = {_name(command) for command in commands}
    return commands[0] if len(names) == 1 else ("PIPELINE",)


def _name(command: Sequence[Any]) -> str:
    if command[0] in _SCRIPT_COMMANDS:
        return SCRIPT_NAMES.get(command[1], "eval")
    return str(command[0]).lower()


def _note(client: Redis, command: Sequence[Any], began: float, error: Exception | None) -> None:
    if isinstance(error, exceptions.NoScriptError):
        return  # it goes on: the script is sent again, as text
    refuses = isinstance(error, _REFUSES)
    answered = refuses or not isinstance(error, _NO_ANSWER)
    if error is None:
        outcome = "ok"
    else:
        passes = not answered or (isinstance(error, exceptions.RedisError) and passes_by_itself(error))
        outcome = "unavailable" if passes else "refused"
    _child(_name(command), outcome).observe(perf_counter() - began)
    answers.note(client, answered=answered)
