"""Whether the user of TALLY_REDIS_URL may run the scripts of a service to the end, asked before any of them runs.

Redis looks at each command of a script when its turn comes, and keeps what was written before: blocks could be off the
stream and not counted, or on it without their source's position.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from tally.keys import Keys
from tally.refused import Refused
from tally.store.lua import ReadingScript, WritingScript
from tally.store.users import User

#: What a call begins with where its key is not the word behind the command.
_BEGINNINGS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("XREADGROUP",): ("XREADGROUP", "GROUP", "group", "consumer", "STREAMS"),
}

#: A script of one key, which it may read and write.
_SCRIPT = ("EVALSHA", "0" * 40, "1")

_permissions = ReadingScript("permissions")


async def check_permissions(redis: Any, *, keys: Keys, user: User) -> None:
    """Raise Refused with the commands and the keys that the scripts of this user need and ours does not allow.

    Raises StoreUnavailable.
    """
    commands = _commands(user.scripts)
    calls = [[*_BEGINNINGS.get(words, words), _key_for(words, keys, user)] for words in commands]
    written = list(user.written(keys, 1))
    calls += ([*_SCRIPT, key] for key in written)
    found = await _permissions.run(redis, (keys.layout,), {"calls": calls})
    refused = [int(place) - 1 for place in found]
    sentences = []
    if names := [" ".join(commands[at]) for at in refused if at < len(commands)]:
        sentences.append(f"run {', '.join(names)}")
    if names := [written[at - len(commands)] for at in refused if at >= len(commands)]:
        sentences.append(f"read and write {', '.join(names)}")
    if sentences:
        raise Refused(
            f"Redis does not allow the user of TALLY_REDIS_URL to {', nor to '.join(sentences)}; which rules a service "
            "needs is in docs/redis.md"
        )


@cache
def _commands(scripts: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return all commands of these scripts."""
    return list(dict.fromkeys(words for script in scripts for words in WritingScript(script).commands))


def _key_for(words: tuple[str, ...], keys: Keys, user: User) -> str:
    """Return a key on which a command may be run: any, unless it is confined to some."""
    for commands, naming in (user.confined or {}).items():
        if "|".join(words).lower() in commands:
            return next(iter(naming(keys, 1)))
    return keys.layout
