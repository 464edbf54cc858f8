"""Which tables there are in one shard: of types, of words, and of the words of each type that has a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tally.keys import TYPES, WORDS, Keys, Table, words_of
from tally.store.client import StoreUnavailable, errors_translated, execute
from tally.words_by_type import Numbered, parse_numbered

#: How many hashes one call deletes. Redis takes large ones apart in a thread of its own.
HASHES_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables that there are, and those of types that have no number any more, which are to be deleted.

    `numbered` is how many numbers were ever given by then, as scripts compare it: with another table it is another one.
    """

    numbered: str = "0"
    counted: tuple[Table, ...] = (TYPES, WORDS)
    unused: tuple[Table, ...] = ()

    @property
    def all(self) -> tuple[Table, ...]:
        return self.counted + self.unused


def numbered_in(text: bytes, keys: Keys) -> Numbered:
    """Return what a field of the numbers says. Raises StoreUnavailable if it says nothing of ours."""
    try:
        return parse_numbered(text)
    except ValueError:
        raise StoreUnavailable(
            f"{keys.types_numbers} holds {text[:50]!r}, which is no number of a type: another client has written it; "
            "remove it"
        ) from None


async def known_tables(redis: Any, keys: Keys) -> Tables:
    """Return the tables of this shard. Raises StoreUnavailable."""
    with errors_translated():
        pipeline = redis.pipeline(transaction=False)
        pipeline.get(keys.types_numbered)  # first: what comes in between makes it too low, and is noticed
        pipeline.hvals(keys.types_numbers)
        pipeline.zrange(keys.types_retired, 0, -1)
        numbered, numbers, retired = await execute(pipeline)
    counted = sorted(numbered_in(text, keys).number for text in numbers)
    return Tables(
        (numbered or b"0").decode(),
        (TYPES, WORDS, *map(words_of, counted)),
        tuple(words_of(int(number)) for number in retired),
    )
