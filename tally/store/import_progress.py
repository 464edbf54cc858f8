"""How far imports are, as it is stored in each shard, and why one cannot go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tally.printing import printable
from tally.runtime import Failure
from tally.store.client import errors_translated
from tally.store.shards import Shards

#: What stands in front of the time at which an import was done, in Unix seconds.
DONE = "done:"

#: How many names an error tells.
NAMES_TOLD = 10


class Moved(Failure):
    """An import is elsewhere than it was left."""

    def __init__(self) -> None:
        super().__init__(
            "the import is elsewhere than this process has left it: another one runs it, or Redis has lost its last "
            "writes, as in a fail-over. Run the same again, once: it goes on where it is"
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far imports are in a shard: by the ID of the export a number of its lines, or when it was done."""

    lines: Mapping[str, int]
    done_at: Mapping[str, int]


async def progress_of(redis: Any, key: str) -> Progress:
    """Return how far imports are, by what is under the key of those of a shard. Raises StoreUnavailable."""
    with errors_translated():
        stored = await redis.hgetall(key)
    texts = {name.decode("utf-8", "replace"): text.decode("utf-8", "replace") for name, text in stored.items()}
    done = {name: text.removeprefix(DONE) for name, text in texts.items() if text.startswith(DONE)}
    return Progress(
        {name: int(text) for name, text in texts.items() if text.isdecimal()},
        {name: int(text) for name, text in done.items() if text.isdecimal()},
    )


async def check_no_import(shards: Shards) -> None:
    """Raise Failure if an import has begun and not ended: what it brings is only a part, and more will come.

    Raises StoreUnavailable.
    """
    for shard in shards:
        for export_id in (await progress_of(shard.redis, shard.keys.imports)).lines:
            raise Failure(
                f"the import of export {export_id} has begun here and not ended, so only a part of it is counted: run "
                "that again first"
            )


def unfinished(export_id: str) -> Failure:
    """Return the error that says that another import has to be brought to its end first."""
    return Failure(
        f"the import of another export, with the ID {export_id}, has begun and not ended: run it again, with its file; "
        "or begin anew with `tally reset`"
    )


def clashing(names: Sequence[str]) -> Failure:
    """Return the error that says that sources were appended to here, too."""
    told = ", ".join(map(printable, names[:NAMES_TOLD])) + (", ..." if len(names) > NAMES_TOLD else "")
    return Failure(
        f"sources of the export were appended to here already, so it cannot be known which lines are counted: {told}. "
        "Import into an empty namespace before anything reads them, or `tally reset` this one first"
    )
