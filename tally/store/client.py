"""The connection to Redis: how it is made, and which errors mean 'try again later'."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tally.layout import check_format
from tally.open_files import is_out_of_files
from tally.refused import refused

#: What layout_library.lua answers where the stored layout differs; behind it the stored format.
_LAYOUT_DIFFERS = "TALLYLAYOUT "

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
_PASSING_ERRORS = (
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.OutOfMemoryError,
    exceptions.AskError,
    exceptions.TryAgainError,
)

#: What clients are told of a connection that cannot be had: the error itself has the host and the port.
NO_ANSWER = "Redis does not answer; the log of this service says more"


class StoreUnavailable(Exception):
    """Redis cannot be asked, or cannot be written to, just now. Nothing is known about the command's effect.

    Its text is for the log and may say where Redis is; `public` is what any client may be told.
    """

    def __init__(self, text: str, *, public: str | None = None) -> None:
        super().__init__(text)
        self.public = text if public is None else public


class GroupMissing(Exception):
    """The stream or its consumer group is gone: a flush, or a server that came back without its data."""


class LayoutChanged(Exception):
    """The stored layout is not ours. Nothing was written. It may be read again, to tell how it differs."""


#: How many connections a service may have to Redis. Whatever needs one more waits for it.
MAX_CONNECTIONS = 64


def connect(
    url: str,
    *,
    timeout_seconds: float,
    tls: Mapping[str, str] | None = None,
    on_connect: Callable[[Any], Awaitable[None]] | None = None,
) -> Redis:
    """Return a client of the server at `url`; it connects with the first command, and by `on_connect` if that is given.

    `tls` is Settings.redis_tls. Commands that are sent at once share MAX_CONNECTIONS connections: a tail of thousands
    of files sends as many.

    It never sends a command twice (redis-py retries ten times by default): what a lost reply leaves in doubt
    is decided by our scripts, when the service's own loop tries again. RESP2 is set on purpose, because the
    shape of XREADGROUP's reply depends on it.

    Raises ValueError when the URL is not one.
    """
    options: dict[str, Any] = {
        "max_connections": MAX_CONNECTIONS,
        "timeout": max(20.0, timeout_seconds),
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": min(5.0, timeout_seconds),
        "client_name": "tally",
        "redis_connect_func": on_connect,
        **(tls or {}),
    }
    return Redis.from_pool(BlockingConnectionPool.from_url(url, **options))


@contextmanager
def errors_translated() -> Iterator[None]:
    """Raise StoreUnavailable, GroupMissing, LayoutChanged or Refused in place of any error of redis-py."""
    try:
        yield
    except (exceptions.AuthenticationError, exceptions.AuthorizationError) as error:
        raise refused(error) from error  # ConnectionErrors to redis-py
    except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
        if is_out_of_files(error):
            text = f"no more files may be open: raise `ulimit -n` ({error})"
            raise StoreUnavailable(text, public="this service has too many files open") from error
        raise StoreUnavailable(f"{type(error).__name__}: {error}", public=NO_ANSWER) from error
    except exceptions.RedisError as error:
        text = str(error)
        if _LAYOUT_DIFFERS in text:
            check_format(text.partition(_LAYOUT_DIFFERS)[2])
            raise LayoutChanged("Redis holds another layout by now; `tally layout` says which") from error
        if "NOGROUP" in text or "no such key" in text.lower():
            raise GroupMissing(text) from error
        if isinstance(error, _PASSING_ERRORS) and passes_by_itself(error):
            raise StoreUnavailable(f"{type(error).__name__}: {text}") from error
        if passes_by_itself(error):
            raise StoreUnavailable(text) from error
        raise refused(error) from error


def passes_by_itself(error: exceptions.RedisError) -> bool:
    """Return whether the server refuses a command for now only, and not because of what it is or who sends it."""
    if isinstance(error, exceptions.MovedError):  # an AskError to redis-py, but the node stays the wrong one
        return False
    return isinstance(error, _PASSING_ERRORS) or str(error).partition(" ")[0] in _PASSING


async def execute(pipeline: Any) -> list[Any]:
    """Run a pipeline and return its replies; raise the first error among them as the server sent it.

    redis-py would put its own words in front, and the server's first word is what tells errors apart.
    """
    replies: list[Any] = await pipeline.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies
