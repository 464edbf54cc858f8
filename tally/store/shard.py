"""What every store of a shard is made with."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from tally.keys import Keys
from tally.settings import Settings
from tally.store.layouts import Checks, checks


class ShardStore:
    """A client, the keys of a shard, the settings, and the checks of the layout that scripts make.

    These are for the layout of the settings, unless others are given.
    """

    def __init__(self, redis: Redis, *, keys: Keys, settings: Settings, layout: Checks | None = None) -> None:
        self._redis: Any = redis  # its annotations leave open whether replies are text; ours are bytes
        self._keys = keys
        self._settings = settings
        self._layout = layout or checks(keys, settings)
