"""How a command asks Redis something, and says so where there is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tally.local.embedded_cluster import embedded
from tally.redis_location import is_at_rest, redis_url
from tally.runtime import Failure, fail, run_or_exit
from tally.settings import Settings, without_password
from tally.store import StoreUnavailable
from tally.store.merged_reads import Reader, reader_of
from tally.store.shards import Shards, open_shards

T = TypeVar("T")


def ask(settings: Settings, question: Callable[[Reader], Awaitable[T]]) -> T:
    """Return the answer to a question about the counts. Ends the process with a sentence where there is none."""

    return with_shards(settings, lambda shards: question(reader_of(shards, settings=settings)))


def with_shards(settings: Settings, work: Callable[[Shards], Awaitable[T]], *, writes: bool = False) -> T:
    """Return what some work with the shards gives. Ends the process with a sentence where it fails.

    Work that writes sees to the rewrite of the append-only file first, as the services do.
    """

    async def with_them() -> T:
        async with open_shards(
            settings, stop=asyncio.Event(), for_writing=writes, timeout_seconds=settings.read_timeout_seconds
        ) as shards:
            return await work(shards)

    return answer_of(settings, with_them)


def answer_of(settings: Settings, work: Callable[[], Awaitable[T]]) -> T:
    """Return what some work with Redis gives. Ends the process with a sentence where it fails."""

    async def body() -> T:
        try:
            return await work()
        except StoreUnavailable as error:
            raise _no_answer(settings, error) from error

    answer: T = run_or_exit(body())
    return answer


def _no_answer(settings: Settings, error: StoreUnavailable) -> Failure:
    hint = (
        ""
        if settings.redis_url
        else "\nIs `tally up` running in this folder? Otherwise set TALLY_REDIS_URL, or TALLY_DATA_DIR to its --data."
    )
    return Failure(f"no answer from {without_password(redis_url(settings))}: {error}{hint}")


@contextmanager
def server_at_rest(settings: Settings) -> Iterator[Settings]:
    """Run the server of the data folder for as long as a command takes, where no `tally up` does; give its settings.

    One whose aggregators are refused ends, and takes the server with it: the way on must not need it.
    """
    if not is_at_rest(settings):
        yield settings
        return
    try:
        server = embedded(settings.data_dir)
    except Failure as error:
        fail(str(error), code=error.exit_code)
    try:
        try:
            server.start()
        except Failure as error:
            fail(str(error), code=error.exit_code)
        yield settings.model_copy(update={"redis_url": server.url})
    finally:
        server.stop()
