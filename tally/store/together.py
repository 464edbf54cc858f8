"""What is asked of every shard at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from tally.store.client import StoreUnavailable

T = TypeVar("T")
Asked = TypeVar("Asked")

#: Of how many shards what takes long is read at the same time. All at once would take each so much longer, and whatever
#: moves meanwhile is read again.
LONG_AT_ONCE = 4


async def together(asked: Sequence[Awaitable[T]], *, shards: Sequence[int] | None = None) -> list[T]:
    """Return the answers of all shards, in their order. Raises what the first one raised that did, when all have ended.

    A command that is called off costs its connection, and the longest of them has a timeout. Of what is unavailable it
    is said which shard it is; they are the first ones unless it is given which.
    """
    answers = await asyncio.gather(*asked, return_exceptions=True)
    for index, answer in zip(shards or range(len(asked)), answers, strict=True):
        if isinstance(answer, StoreUnavailable) and (shards or len(answers) > 1):
            raise StoreUnavailable(f"shard {index}: {answer}", public=answer.public) from answer
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]


async def few_at_once(
    each: Sequence[Asked], ask: Callable[[Asked], Awaitable[T]], *, shards: Sequence[int] | None = None
) -> list[T]:
    """Return what `ask` gives for each of these, as `together` does: of LONG_AT_ONCE at the same time."""
    turns = asyncio.Semaphore(LONG_AT_ONCE)

    async def one(asked: Asked) -> T:
        async with turns:
            return await ask(asked)

    return await together([one(asked) for asked in each], shards=shards)
