"""What Redis refuses however often it is asked, as sentences for the person who has set it up.

What passes by itself is StoreUnavailable, and is tried again.
"""

from __future__ import annotations

import re

from redis import exceptions

#: How Valkey says so of a command in a script.
_IN_SCRIPT = "ACL failure in script"

_NO_COMMAND = re.compile(r"to run the '([^']+)' command")

#: What Redis and Valkey say of a key, each version in words of its own.
_NO_KEY = re.compile(r"access .*\bkeys?\b")


class Refused(Exception):
    """Redis refuses, and will refuse again until somebody changes how it, or Tally, is set up.

    The text is a sentence for the log and the terminal; `public` is what anybody may be told.
    """

    def __init__(self, text: str, *, public: str | None = None) -> None:
        super().__init__(text)
        self.public = text if public is None else public


def refused(error: exceptions.RedisError) -> Refused:
    """Return the error of redis-py as a sentence that says what to change."""
    text = str(error)
    if isinstance(error, exceptions.AuthenticationError | exceptions.AuthorizationError):
        return Refused(f"Redis refuses the password or the user of TALLY_REDIS_URL: {text}")
    if isinstance(error, exceptions.NoPermissionError) or _IN_SCRIPT in text:
        command = _NO_COMMAND.search(text)
        what = "do that"
        if command:
            what = f"run {command[1].upper().replace('|', ' ')}"
        elif _NO_KEY.search(text):
            what = "use a key that is needed (is it made for this TALLY_NAMESPACE?)"
        return Refused(
            f"Redis does not allow the user of TALLY_REDIS_URL to {what}; which rules a service needs is in "
            f"docs/redis.md: {text}"
        )
    if isinstance(error, exceptions.MovedError):
        sentence = "TALLY_REDIS_URL names a node of a Redis Cluster that does not own the slot of Tally's keys"
        way_on = f"name the one that does, {error.host}:{error.port}, or write redis+cluster:// for all of them"
        return Refused(f"{sentence}; {way_on}", public=sentence)
    if "cluster support disabled" in text:
        return Refused("TALLY_REDIS_URL names a Redis that is no cluster: write redis:// in place of redis+cluster://")
    if "DB index" in text or "SELECT is not allowed" in text:
        return Refused(f"Redis does not have the database that TALLY_REDIS_URL names: {text}")
    if "unknown command" in text.lower():
        return Refused(f"Redis does not know a command that Tally needs (Redis 7.0 or Valkey 8 is the oldest): {text}")
    if text.startswith("WRONGTYPE"):
        return Refused(
            f"Redis holds something else under a name of Tally's; how to find it is in docs/operations.md: {text}"
        )
    if isinstance(error, exceptions.InvalidResponse):
        return Refused(f"what answers at TALLY_REDIS_URL does not speak as Redis does: {text}")
    return Refused(f"Redis refuses: {text or type(error).__name__}")
