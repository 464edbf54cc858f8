"""The lanes of a source that is spread over shards: one into the stream of each, see tally/stripes.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ingestor.fingerprints import Fingerprint
from ingestor.lane import Compared, Lane, Sent
from ingestor.metrics import SourceMetrics
from tally.clock import Clock
from tally.settings import Settings
from tally.store import Block, Known, StoreUnavailable
from tally.store.known import alone, merged
from tally.store.protocols import LaneStore
from tally.stripes import Stripes
from tally.telemetry import Log
from tally.vectors import Vector

#: The fingerprint of the bytes before a lane that has nothing: one that was moved meanwhile has another one.
_NOTHING = str(Fingerprint.of(b""))


def lanes_over(stores: Sequence[LaneStore], *, replayable: bool, **options: Any) -> Lane | StripedLanes:
    """Return the lane of a source, or its lanes where there are several shards; `options` are those of both."""
    if len(stores) > 1:
        return StripedLanes(stores, **options)
    return _OnlyLane(store=stores[0], **options) if replayable else Lane(store=stores[0], **options)


class StripedLanes:
    """To its appender what a Lane is, with one in each shard. Blocks are sent in all of them at once.

    A block that its lane has already is passed over: others needed what was before it.
    """

    def __init__(
        self,
        stores: Sequence[LaneStore],
        *,
        settings: Settings,
        stop: asyncio.Event,
        log: Log,
        clock: Clock,
        is_bulk: Callable[[], bool],
        metrics: SourceMetrics,
    ) -> None:
        self._stripe_bytes = settings.stripe_bytes
        self._most_blocks = settings.max_blocks_in_flight
        self._lanes = tuple(
            _StripeLane(
                store=store,
                settings=settings,
                stop=stop,
                log=log.bind(shard=shard),
                clock=clock,
                is_bulk=is_bulk,
                metrics=metrics,
            )
            for shard, store in enumerate(stores)
        )
        self._full: list[_StripeLane] = []
        self._elsewhere: _StripeLane = self._lanes[0]
        self._before: tuple[Vector, ...] = ()

    @property
    def name(self) -> str:
        """The source's in the store."""
        return self._lanes[0].name

    @property
    def resumes_at(self) -> int:
        """Where reading would begin, by what is in the streams."""
        stands = [each.known for each in self._lanes]
        return merged(self.name, stands, stripe_bytes=self._stripe_bytes, before=self._before).position

    @property
    def positions(self) -> tuple[int, ...]:
        """The position in each shard."""
        return tuple(each.position for each in self._lanes)

    @property
    def appended_bytes(self) -> int:
        return sum(each.appended_bytes for each in self._lanes)

    @property
    def appended_lines(self) -> int:
        return sum(each.appended_lines for each in self._lanes)

    @property
    def in_flight_bytes(self) -> int:
        return sum(each.in_flight_bytes for each in self._lanes)

    @property
    def found_elsewhere(self) -> Compared:
        """What there is to say when it was `ELSEWHERE`: of one of those that were."""
        return self._elsewhere.found_elsewhere

    @property
    def is_empty(self) -> bool:
        return all(each.is_empty for each in self._lanes)

    @property
    def has_room(self) -> bool:
        """Whether another block may be put into it, whichever lane it is for.

        At the start of a source, one block after the other: an ingestor on another machine may read another file under
        this name, which begins alike. The second to append to the first stripe finds that out there, and must not have
        appended to others meanwhile; nor after it, if all that it has there is before what the other one has.
        """
        in_flight = sum(each.blocks_in_flight for each in self._lanes)
        return in_flight < (1 if self._is_in_first_stripe else self._most_blocks)

    @property
    def _is_in_first_stripe(self) -> bool:
        return sum(each.position > 0 for each in self._lanes) < 2

    def start(self, known: Known) -> None:
        """Go on under this name from these positions; what was in flight is not sent any more."""
        self._before = known.before
        stands = known.lanes or (Known(known.name),) * len(self._lanes)
        for lane, stand in zip(self._lanes, stands, strict=True):
            lane.start(replace(stand, name=known.name))

    def put(self, block: Block) -> None:
        """Take the next block; pass over what its lane had when it started."""
        self._lanes[block.shard].put(block)

    async def send(self) -> Sent:
        """Append what is in flight in all lanes; what was not appended stays. Raises StoreUnavailable; send again then.

        One raises only after all have got their answers.
        """
        is_in_first_stripe = self._is_in_first_stripe
        sending = [each for each in self._lanes if not each.is_empty]
        if len(sending) == 1:
            outcomes: list[Sent | BaseException] = [await sending[0].send()]
        else:
            outcomes = await asyncio.gather(*(each.send() for each in sending), return_exceptions=True)
        elsewhere = [
            lane
            for lane, outcome in zip(sending, outcomes, strict=True)
            if outcome is Sent.ELSEWHERE or (outcome is Sent.APPENDED and is_in_first_stripe and lane.is_behind)
        ]
        self._full = [lane for lane, outcome in zip(sending, outcomes, strict=True) if outcome is Sent.FULL]
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if errors:
            raise next((each for each in errors if not isinstance(each, StoreUnavailable)), errors[0])
        if elsewhere:
            self._elsewhere = elsewhere[0]
            return Sent.ELSEWHERE
        return Sent.FULL if self._full else Sent.APPENDED

    async def wait_for_room(self, *, seconds_after_stop: float) -> bool:
        """Wait until the streams that were full have room again; see Lane.wait_for_room."""
        for lane in self._full:
            if not await lane.wait_for_room(seconds_after_stop=seconds_after_stop):
                return False
        return True

    async def stands(self) -> list[Compared]:
        """Ask Redis how far the source is in each shard. Raises StoreUnavailable."""
        found = await asyncio.gather(*(each.stands() for each in self._lanes))
        return [stand for each in found for stand in each]

    async def wait_until_kept(self) -> bool:
        """Wait until what was appended outlives a crash of each server; False if that is not certain.

        Not asked is who has nothing of the source, but for the first lane, which has the name of an empty one. Raises
        StoreUnavailable.
        """
        first = Stripes.of(self.name, shards=len(self._lanes), stripe_bytes=self._stripe_bytes).first
        asked = [each for each in self._lanes if each.position] or [self._lanes[first]]
        return all(await asyncio.gather(*(each.wait_until_kept() for each in asked)))


class _StripeLane(Lane):
    """A lane whose blocks do not follow one another in the source: each begins, for the store, where the last ended."""

    _had = 0  # how far the lane was when it started
    _last = ""  # the fingerprint of the bytes before its position

    def start(self, known: Known) -> None:
        super().start(known)
        self._had, self._last = known.position, known.last

    @property
    def is_behind(self) -> bool:
        """Whether more is stored of it, by another ingestor."""
        return self.stored_position > self.position

    @property
    def known(self) -> Known:
        """The same as is stored of it."""
        return Known(self.name, self.position, self._last)

    def put(self, block: Block) -> None:
        if block.end > self._had:
            super().put(block)

    def _as_stored(self) -> list[Block]:
        blocks = []
        start, before = self.position, self._last or _NOTHING
        for block in self._in_flight:
            blocks.append(replace(block, start=start, before=before))
            start, before = block.end, block.last
        return blocks

    def _land(self, block: Block) -> None:
        super()._land(block)
        self._last = block.last


class _OnlyLane(_StripeLane):
    """The lane of a source into the only shard. Blocks follow one another, unless lanes of before have some of it."""

    _before: tuple[Vector, ...] = ()

    @property
    def resumes_at(self) -> int:
        return alone(replace(self.known, before=self._before)).position

    def start(self, known: Known) -> None:
        super().start(replace(known.stands[0], name=known.name))
        self._before = known.before

    def _as_stored(self) -> list[Block]:
        return super()._as_stored() if self._before else list(self._in_flight)
