"""The stored layout: compared, and stored where there is none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from tally.keys import Keys
from tally.layout import Layout, refuse
from tally.settings import Settings
from tally.store.client import errors_translated
from tally.store.lua import LayoutCheck, LayoutScript
from tally.windows import parse_window_lengths

_ensure_layout = LayoutScript("ensure_layout")


@dataclass(frozen=True, slots=True)
class Checks:
    """What scripts compare: `format` those of an ingestor, `whole` those of an aggregator. Both have the shards."""

    format: LayoutCheck
    whole: LayoutCheck


def checks(keys: Keys, settings: Settings) -> Checks:
    """Return the checks of a shard for these settings."""
    here = Layout.of(settings)
    return Checks(LayoutCheck(keys, here.of_format), LayoutCheck(keys, here.fields))


def stored_layout(names: Sequence[bytes], values: Sequence[bytes | None]) -> Layout:
    """Return the layout that HGETALL or HMGET found. Raises LayoutRefused if its format is not known."""
    return Layout.stored({name: value for name, value in zip(names, values, strict=True) if value is not None})


@dataclass(frozen=True, slots=True)
class Change:
    """When another layout was accepted, in Unix seconds, and the fields that changed: name -> (before, after)."""

    at: int
    changes: dict[str, tuple[str, str]]


async def changes_of(redis: Any, keys: Keys) -> list[Change]:
    """Return what was accepted in a shard, the newest first. Raises StoreUnavailable."""
    with errors_translated():
        found = await redis.lrange(keys.layout_history, 0, -1)
    return [
        Change(each["at"], {name: tuple(pair) for name, pair in each["changes"].items()})
        for each in map(json.loads, found)
    ]


async def lengths_before(redis: Any, keys: Keys) -> list[int]:
    """Return every length, in seconds, that was counted until another layout was accepted. Raises StoreUnavailable."""
    changes = await changes_of(redis, keys)
    texts = [change.changes["windows"][0] for change in changes if "windows" in change.changes]
    return sorted({length.seconds for text in texts if text for length in parse_window_lengths(text)})


class LayoutStore:
    """The layout of one shard. Every method raises StoreUnavailable, and LayoutRefused for an unknown format."""

    def __init__(self, redis: Redis, *, keys: Keys, settings: Settings) -> None:
        self._redis: Any = redis
        self._keys = keys
        self._here = Layout.of(settings)

    async def read(self) -> Layout:
        """Return what is stored, whole or not."""
        with errors_translated():
            return Layout.stored(await self._redis.hgetall(self._keys.layout))

    async def check(self) -> bool:
        """Return whether one is stored. Raises LayoutRefused too where sources are spread over other shards."""
        stored = await self.read()
        stored.check_spread(self._here)
        return bool(stored.fields)

    async def ensure_format(self) -> None:
        """Store over what sources are spread, where nothing is stored. Raises LayoutRefused as `check` does.

        For ingestors: what their lines are counted as is the aggregators' part.
        """
        stored = await self.read()
        if not stored.fields:
            flat = await _ensure_layout.run(self._redis, (self._keys.layout,), {"layout": self._here.of_format})
            stored = stored_layout(flat[::2], flat[1::2])
        stored.check_spread(self._here)

    async def ensure(self) -> None:
        """Store the layout of our settings where there is none. Raises LayoutRefused where there is another one.

        Counts without a layout are taken for ours.
        """
        flat = await _ensure_layout.run(self._redis, (self._keys.layout,), {"layout": self._here.fields})
        differences = stored_layout(flat[::2], flat[1::2]).differences(self._here)
        if differences:
            raise refuse(differences)
