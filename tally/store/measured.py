"""A client that measures what it asks: how long each operation took, and whether Redis answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import cache
from typing import Any
from weakref import WeakSet

from redis import exceptions
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import Pipeline

from tally.clock import SYSTEM
from tally.metrics import REDIS_RECONNECTS, REDIS_SECONDS, REDIS_UP
from tally.store.passing import passes_by_itself, raise_lost
from tally.store.patience import Patience

#: The name of each script, by what is sent of it: its hash, or its text. `lua` fills it.
SCRIPT_NAMES: dict[str, str] = {}

_SCRIPT_COMMANDS = frozenset({"EVALSHA", "EVALSHA_RO", "EVAL", "EVAL_RO"})

#: ConnectionErrors to redis-py, but Redis has answered.
_REFUSES = (exceptions.AuthenticationError, exceptions.AuthorizationError)

_NO_ANSWER = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)

#: Of this machine: that of the client goes by it, too.
_now = SYSTEM.monotonic

_child = cache(REDIS_SECONDS.labels)


class Answers:
    """Which clients of this process did not get an answer when they last asked."""

    def __init__(self) -> None:
        self.was_asked = False
        self._unanswered: WeakSet[Redis] = WeakSet()
        self.any_missing = False  # as far as is known: who is gone may still be missed

    def note(self, client: Redis, *, answered: bool) -> None:
        """Note what came of an operation."""
        self.was_asked = True
        if not answered:
            self._unanswered.add(client)
        elif client in self._unanswered:
            self._unanswered.discard(client)
            REDIS_RECONNECTS.inc()
        self.any_missing = bool(self._unanswered)

    def forget(self, client: Redis) -> None:
        """Forget what came of its operations, as it is asked no more: what it did not answer would stay so for ever."""
        self._unanswered.discard(client)

    def all_are_there(self) -> bool:
        """Return whether something was asked, and no client asked in vain."""
        return self.was_asked and not self._unanswered


answers = Answers()
REDIS_UP.set_function(lambda: answers.all_are_there())


class MeasuredRedis(Redis):
    """A client of one server; with `patience` it waits no longer than that after a stop.

    Where nobody asks for metrics it need not be measured: that is a twentieth of what a small append takes.
    """

    patience: Patience | None = None
    is_measured = True

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Execute a command and return its reply."""
        if not self.is_measured:
            return await self._execute(args, options)
        began = _now()
        try:
            reply = await self._execute(args, options)
        except (exceptions.RedisError, OSError) as error:
            _note_failure(self, _name(args), began, error)
            raise
        _note_success(self, _name(args), began)
        return reply

    async def _execute(self, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        try:
            async with self.limited():
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise_lost(error)

    def limited(self) -> AbstractAsyncContextManager[None]:
        """Wait in this block no longer than `patience` allows."""
        return self.patience.limited() if self.patience is not None else nullcontext()

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Return a pipeline."""
        made = _MeasuredPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        made.of_client = self
        return made


def measured(pool: ConnectionPool) -> MeasuredRedis:
    """Return a client with the connections of this pool, which it closes."""
    client = MeasuredRedis.from_pool(pool)
    assert isinstance(client, MeasuredRedis)
    return client


class _MeasuredPipeline(Pipeline):
    """Several commands in one round trip: an operation of their name if it is the same, else `pipeline`."""

    of_client: MeasuredRedis

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Execute them and return their replies."""
        if not self.of_client.is_measured:
            return await self._execute_all(raise_on_error)
        names = {_name(command) for command, _ in self.command_stack}
        name = names.pop() if len(names) == 1 else "pipeline"
        began = _now()
        try:
            replies = await self._execute_all(raise_on_error)
        except (exceptions.RedisError, OSError) as error:
            _note_failure(self.of_client, name, began, error)
            raise
        for reply in replies:
            if isinstance(reply, Exception):
                _note_failure(self.of_client, name, began, reply)
                break
        else:
            _note_success(self.of_client, name, began)
        return replies

    async def _execute_all(self, raise_on_error: bool) -> list[Any]:
        try:
            async with self.of_client.limited():
                return await super().execute(raise_on_error)
        except RuntimeError as error:
            raise_lost(error)


def _name(command: Sequence[Any]) -> str:
    word = command[0]
    return SCRIPT_NAMES.get(command[1], "eval") if word in _SCRIPT_COMMANDS else str(word).lower()


def _note_success(client: Redis, name: str, began: float) -> None:
    _child(name, "ok").observe(_now() - began)
    if answers.any_missing or not answers.was_asked:
        answers.note(client, answered=True)


def _note_failure(client: Redis, name: str, began: float, error: Exception) -> None:
    if isinstance(error, exceptions.NoScriptError):
        return  # it goes on: the script is sent again, as text
    answered = isinstance(error, _REFUSES) or not isinstance(error, _NO_ANSWER)
    passes = not answered or (isinstance(error, exceptions.RedisError) and passes_by_itself(error))
    _child(name, "unavailable" if passes else "refused").observe(_now() - began)
    answers.note(client, answered=answered)
