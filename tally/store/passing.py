"""Which errors of Redis pass by themselves."""

from __future__ import annotations

from typing import NoReturn

from redis import exceptions

#: ResponseErrors that pass by themselves: a fail-over, a full disk, a full memory, a server that is still loading.
_PASSING = (
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "LOADING",
    "BUSY",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "UNBLOCKED",
)

#: Those of them that redis-py takes the first word off; the last two come while a slot goes to another node.
PASSING_ERRORS = (
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.OutOfMemoryError,
    exceptions.AskError,
    exceptions.TryAgainError,
)


def passes_by_itself(error: exceptions.RedisError) -> bool:
    """Return whether the server refuses a command for now only, and not because of what it is or who sends it."""
    if isinstance(error, exceptions.MovedError):  # an AskError to redis-py, but the node stays the wrong one
        return False
    return isinstance(error, PASSING_ERRORS) or str(error).partition(" ")[0] in _PASSING


def raise_lost(error: RuntimeError) -> NoReturn:
    """Raise ConnectionError in place of what uvloop raises where a connection was reset before something was sent.

    redis-py takes OSErrors alone for that. Any other error is raised as it is.
    """
    if "the handler is closed" in str(error):
        raise exceptions.ConnectionError(f"the connection was lost: {error}") from error
    raise error
