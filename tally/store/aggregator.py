"""What an aggregator does in Redis: it reads, claims and counts blocks, as one consumer of the group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tally.keys import GROUP
from tally.store.blocks import Consumer, Entry, Oldest, parse_entry
from tally.store.client import GroupMissing, errors_translated
from tally.store.deltas import DeltaStore
from tally.store.layouts import LayoutStore
from tally.store.lua import WritingScript
from tally.store.numbers import NumberStore
from tally.store.stream import consumers, create_group, loss_keys, oldest, reconcile_backlog
from tally.store.user_check import check_permissions
from tally.store.users import AGGREGATOR

_claim, _retry, _renew_pending = WritingScript("claim"), WritingScript("retry"), WritingScript("renew_pending")
_dead_letter, _remove_consumer = WritingScript("dead_letter"), WritingScript("remove_consumer")

#: The cursor with which claiming begins, and which the last call returns.
CLAIM_FROM_START = "-"

#: What dead_letter.lua and remove_consumer.lua return.
DeadLetterWord = Literal["moved", "kept", "gone"]
RemovalWord = Literal["removed", "pending", "active", "gone"]


class AggregatorStore(DeltaStore, NumberStore):
    """The stream and the counts of one shard. Every method may be called again after a failure."""

    async def ensure_layout(self) -> None:
        """Store the layout of our settings where there is none; where it is equal, nothing is written.

        Raises StoreUnavailable, LayoutRefused where there is another one, and Refused if our user may not do all that
        an aggregator does.
        """
        await check_permissions(self._redis, keys=self._keys, user=AGGREGATOR)
        await LayoutStore(self._redis, keys=self._keys, settings=self._settings).ensure()

    async def create_group(self) -> bool:
        """Create the consumer group if it is missing; see stream.create_group. Raises StoreUnavailable."""
        return await create_group(self._redis, keys=self._keys, layout=self._layout.format)

    async def reconcile_backlog(self) -> int:
        """Count as lost what was deleted uncounted; see stream.reconcile_backlog. Raises StoreUnavailable."""
        return await reconcile_backlog(self._redis, keys=self._keys, layout=self._layout.format)

    async def read(self, *, consumer: str, count: int, block_ms: int | None) -> list[Entry]:
        """Take up to `count` new blocks; wait up to `block_ms` for the first of them, or not at all.

        Raises StoreUnavailable or GroupMissing. What a failed call took is pending to this consumer.
        """
        with errors_translated():
            reply = await self._redis.xreadgroup(GROUP, consumer, {self._keys.stream: ">"}, count=count, block=block_ms)
        return [parse_entry(id_.decode(), fields) for _, entries in reply or () for id_, fields in entries]

    async def claim(self, *, consumer: str, cursor: str, count: int) -> tuple[str, int]:
        """Claim blocks of consumers that were idle for too long; return the cursor for the next call, and how many.

        The cursor is CLAIM_FROM_START at first, and again after the end. Raises StoreUnavailable or GroupMissing.
        """
        arguments = {
            "group": GROUP,
            "consumer": consumer,
            "idle_ms": int(self._settings.claim_idle_seconds * 1000),
            "cursor": cursor,
            "count": count,
        }
        cursor_reply, claimed = await _claim.run(
            self._redis, loss_keys(self._keys), arguments, layout=self._layout.whole
        )
        return cursor_reply.decode(), claimed

    async def renew_pending(self, *, consumer: str, ids: Sequence[str]) -> frozenset[str]:
        """Show that this consumer still works on blocks, so that they are not claimed; return those it still has.

        Raises StoreUnavailable or GroupMissing.
        """
        arguments = {"group": GROUP, "consumer": consumer, "ids": ids}
        renewed = await _renew_pending.run(self._redis, loss_keys(self._keys), arguments, layout=self._layout.whole)
        return frozenset(id_.decode() for id_ in renewed)

    async def pending(self, *, consumer: str, count: int) -> list[tuple[str, int]]:
        """Return the oldest blocks that are pending to this consumer: (entry ID, how often it was delivered).

        Raises StoreUnavailable or GroupMissing.
        """
        with errors_translated():
            found = await self._redis.xpending_range(
                self._keys.stream, GROUP, min="-", max="+", count=count, consumername=consumer
            )
        return [(each["message_id"].decode(), each["times_delivered"]) for each in found]

    async def retry(self, *, consumer: str, entry_id: str, deliveries: int) -> Entry | None:
        """Read again a block that is pending to this consumer, and set its delivery count; None if it is gone or lost.

        Raises StoreUnavailable or GroupMissing.
        """
        arguments = {"group": GROUP, "consumer": consumer, "id": entry_id, "deliveries": deliveries}
        word, *flat = await _retry.run(self._redis, loss_keys(self._keys), arguments, layout=self._layout.whole)
        if word != b"given":
            return None
        return parse_entry(entry_id, dict(zip(flat[::2], flat[1::2], strict=True)))

    async def dead_letter(self, *, consumer: str, entry_id: str) -> DeadLetterWord:
        """Move a block that is pending to this consumer and was delivered too often to the dead letters.

        Raises StoreUnavailable or GroupMissing.
        """
        reply = await _dead_letter.run(
            self._redis,
            (self._keys.stream, self._keys.dead_letters, self._keys.backlog, self._keys.totals),
            {"group": GROUP, "consumer": consumer, "id": entry_id, "deliveries": self._settings.max_deliveries},
            layout=self._layout.whole,
        )
        word: DeadLetterWord = reply.decode()
        return word

    async def remove_consumer(self, *, consumer: str, idle_seconds: float = 0) -> RemovalWord:
        """Remove a consumer that has no pending blocks and was idle for so long; return the script's word.

        Raises StoreUnavailable or GroupMissing.
        """
        reply = await _remove_consumer.run(
            self._redis,
            (self._keys.stream,),
            {"group": GROUP, "consumer": consumer, "idle_ms": int(1000 * idle_seconds)},
            layout=self._layout.format,
        )
        word: RemovalWord = reply.decode()
        return word

    async def last_entry_id(self) -> str:
        """Return the ID of the newest entry there ever was, `0-0` on a new stream. Raises StoreUnavailable."""
        try:
            with errors_translated():
                return str((await self._redis.xinfo_stream(self._keys.stream))["last-generated-id"].decode())
        except GroupMissing:
            return "0-0"

    async def consumers(self) -> list[Consumer]:
        """Return the members of the group, by name. Raises StoreUnavailable."""
        return await consumers(self._redis, keys=self._keys)

    async def oldest(self) -> Oldest | None:
        """Return the oldest block that is not yet counted. Raises StoreUnavailable."""
        return await oldest(self._redis, keys=self._keys)
