"""Bodies over several shards: one with a key always to the same, others in turn, some of them to each."""

from __future__ import annotations

from collections.abc import Sequence

from ingestor.bodies import Lines
from ingestor.body_batcher import BodyBatcher
from ingestor.lane import STUCK_SECONDS
from tally.clock import SYSTEM, Clock
from tally.shards import shard_of
from tally.store.idempotent import OnceWord, stored_key
from tally.store.protocols import BodyStore


class BodyShards:
    """Appends bodies, each once, with a batcher for each shard.

    One without a key goes to the shard whose turn it is, for as many bytes as a stripe of a file has: bodies that come
    together are to share blocks. It goes to the next one earlier if that is full or does not answer.
    """

    def __init__(
        self,
        stores: Sequence[BodyStore],
        *,
        source: str,
        max_block_bytes: int,
        stripe_bytes: int,
        clock: Clock = SYSTEM,
    ) -> None:
        self._batchers = [
            BodyBatcher(store, source=source, max_block_bytes=max_block_bytes, clock=clock) for store in stores
        ]
        self._stripe_bytes = stripe_bytes
        self._turn = 0
        self._bytes_of_turn = 0

    async def append(self, lines: Lines, *, key: str | None) -> OnceWord:
        """Append the lines of one body; see BodyBatcher.append. Full is said if all shards are that it may go to."""
        if key is not None:
            return await self._batchers[shard_of(stored_key(key), len(self._batchers))].append(lines, key=key)
        self._bytes_of_turn += sum(map(len, lines.blocks))
        if self._bytes_of_turn > self._stripe_bytes:
            self._pass_on()
        for _ in self._batchers:
            if self._batchers[self._turn].waited_seconds < STUCK_SECONDS:
                break
            self._pass_on()
        word: OnceWord = "full"
        for _ in self._batchers:
            turn = self._turn
            word = await self._batchers[turn].append(lines, key=None)
            if word not in ("full", "held"):  # then nothing was taken, and another one may be asked
                break
            if turn == self._turn:
                self._pass_on()
        return word

    def _pass_on(self) -> None:
        self._turn = (self._turn + 1) % len(self._batchers)
        self._bytes_of_turn = 0
