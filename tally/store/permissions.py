"""Whether the user of TALLY_REDIS_URL may run the scripts of a service to the end, asked before any of them runs.

Redis looks at each command of a script when its turn comes, and keeps what was written before: blocks could be off the
stream and not counted, or on it without their source's position.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from tally.refused import Refused
from tally.store.lua import ReadingScript, WritingScript

#: The scripts that write of each service.
INGESTORS = (
    "append",
    "append_once",
    "create_group",
    "forget_source_counts",
    "forget_sources",
    "reconcile_backlog",
    "register_sources",
    "renew_sources",
)
AGGREGATORS = (
    "apply",
    "claim",
    "create_group",
    "dead_letter",
    "drop_windows",
    "fold",
    "number_types",
    "reconcile_backlog",
    "remove_consumer",
    "renew_pending",
    "retry",
    "settle",
    "stage",
)

#: Those of somebody who looks after the dead letters.
DEAD_LETTERS = ("append_dead_letter", "drop_dead_letter", "settle_dead_letter")

#: What a call begins with where its key is not the word behind the command.
_BEGINNINGS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("XREADGROUP",): ("XREADGROUP", "GROUP", "group", "consumer", "STREAMS"),
}

_permissions = ReadingScript("permissions")


async def check_permissions(redis: Any, *, key: str, scripts: tuple[str, ...]) -> None:
    """Raise Refused with the commands of these scripts that our user may not run, on this key and so on the others.

    Raises StoreUnavailable.
    """
    refused = [name.decode() for name in await _permissions.run(redis, (key,), {"calls": _calls(scripts)})]
    if refused:
        raise Refused(
            f"Redis does not allow the user of TALLY_REDIS_URL to run {', '.join(refused)}; which rules a service "
            "needs is in docs/redis.md"
        )


@cache
def _calls(scripts: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return how calls of all commands of these scripts begin, up to their key."""
    commands = dict.fromkeys(words for script in scripts for words in WritingScript(script).commands)
    return [_BEGINNINGS.get(words, words) for words in commands]
