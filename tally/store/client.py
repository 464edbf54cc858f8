"""The connection to Redis: how it is made, and which errors mean 'try again later'."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Sentinel
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff

from tally.layout import check_format
from tally.open_files import is_out_of_files
from tally.redis_urls import Parts, parts_of
from tally.refused import refused
from tally.store.measured import MeasuredRedis, measured
from tally.store.passing import PASSING_ERRORS, passes_by_itself

#: What layout_library.lua answers where the stored layout differs; behind it the stored format.
_LAYOUT_DIFFERS = "TALLYLAYOUT "

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


#: Is given a new connection, greets the server, and does what else is to be done first.
OnConnect = Callable[[Any], Awaitable[None]]

#: Where Sentinels listen if a URL does not say it, and how long one may take to say who the master is.
SENTINEL_PORT, SENTINEL_SECONDS = 26379, 2.0

#: How many connections a service may have to Redis. Whatever needs one more waits for it.
MAX_CONNECTIONS = 64


def connect(
    url: str,
    *,
    timeout_seconds: float,
    tls: Mapping[str, str] | None = None,
    on_connect: OnConnect | None = None,
    readers: int = 0,
) -> MeasuredRedis:
    """Return a client of the server at `url`, or of the one that Sentinels call the master.

    It connects with the first command, and by `on_connect` if that is given. For a cluster see cluster.py.

    `tls` is Settings.redis_tls. Commands that are sent at once share MAX_CONNECTIONS connections: a tail of thousands
    of files sends as many. There are so many more where so many `readers` may each wait for a block at once.

    It never sends a command twice (redis-py retries ten times by default): what a lost reply leaves in doubt
    is decided by our scripts, when the service's own loop tries again. RESP2 is set on purpose, because the
    shape of XREADGROUP's reply depends on it.

    Raises ValueError when the URL is not one.
    """
    options = pool_options(timeout_seconds, readers=readers)
    options |= connection_options(timeout_seconds=timeout_seconds, tls=tls, on_connect=on_connect)
    parts = parts_of(url)
    if parts.kind == "sentinel":
        return measured(_sentinel_pool(parts, options, timeout_seconds=timeout_seconds))
    return measured(BlockingConnectionPool.from_url(url, **options))


def pool_options(timeout_seconds: float, *, readers: int = 0) -> dict[str, Any]:
    """Return how a pool of connections is made: who needs one more than there may be waits for it."""
    return {"max_connections": MAX_CONNECTIONS + readers, "timeout": max(20.0, timeout_seconds)}


def connection_options(
    *, timeout_seconds: float, tls: Mapping[str, str] | None = None, on_connect: OnConnect | None = None
) -> dict[str, Any]:
    """Return how each connection is made, to whatever server; see `connect`."""
    return {
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": min(5.0, timeout_seconds),
        "client_name": "tally",
        "redis_connect_func": on_connect,
        **(tls or {}),
    }


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the server that the Sentinels call the master now. Who finds none free waits for one."""

    def __init__(self, service: str, sentinel: Sentinel, **options: Any) -> None:
        super().__init__(service, sentinel, **options)  # type: ignore[no-untyped-call]
        self._sentinel = sentinel

    async def aclose(self) -> None:
        """Close the connections, those to the Sentinels as well."""
        await super().aclose()
        await self._sentinel.aclose()


def _sentinel_pool(parts: Parts, options: dict[str, Any], *, timeout_seconds: float) -> _SentinelPool:
    plain = [parse_url(each) for each in parts.plain]
    seeds = [(each.get("host", "localhost"), each.get("port", SENTINEL_PORT)) for each in plain]
    of_server: dict[str, Any] = {name: value for name, value in plain[0].items() if name not in ("host", "port")}
    is_tls = of_server.pop("connection_class", None) is not None
    # What the URL says of the servers is so for the Sentinels, but for databases, and for who asks if that is said.
    of_sentinels = {name: value for name, value in of_server.items() if name != "db"} | dict(parts.sentinel)
    of_sentinels |= connection_options(timeout_seconds=min(SENTINEL_SECONDS, timeout_seconds))
    of_sentinels |= {name: value for name, value in options.items() if name.startswith("ssl_")}
    if is_tls:
        of_sentinels["ssl"] = True
    sentinel = Sentinel(seeds, sentinel_kwargs=of_sentinels)  # type: ignore[no-untyped-call]
    return _SentinelPool(parts.service, sentinel, ssl=is_tls, **options, **of_server)


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
        if isinstance(error, PASSING_ERRORS) and passes_by_itself(error):
            raise StoreUnavailable(f"{type(error).__name__}: {text}", public=text) from error
        if passes_by_itself(error):
            raise StoreUnavailable(text) from error
        raise refused(error) from error


async def execute(pipeline: Any) -> list[Any]:
    """Run a pipeline and return its replies; raise the first error among them as the server sent it.

    redis-py would put its own words in front, and the server's first word is what tells errors apart.
    """
    replies: list[Any] = await pipeline.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies
