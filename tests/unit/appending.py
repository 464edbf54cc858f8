"""What an appender of a source is between, made up: a source that gives what it is told to, and a store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence

from ingestor.fingerprints import Fingerprint
from ingestor.sources.base import Lookup
from tally.store import Append, Block, Known, StoreUnavailable
from tally.store.held import Held


def read_of(name: str, content: bytes) -> Known:
    """What is stored of a source when so much of it was appended."""
    return Known(name, len(content), str(Fingerprint.of(content)))


class Lines:
    """A source that gives one chunk after the other as it is told, and is known as it is told, each time."""

    label = "lines"

    def __init__(self, *known: Known, replayable: bool, finite: bool = False) -> None:
        self.replayable, self.finite, self.is_bulk = replayable, finite, replayable
        self.given: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.ended = asyncio.Event()
        self.known = list(known)
        self.never: list[set[str]] = []  # what it was told not to be, each time that it was asked

    async def known_as(self, ask: Lookup, *, never: Collection[str] = ()) -> Known:
        self.never.append(set(never))
        return self.known.pop(0) if self.known else Known("lines#1")

    def give(self, *chunks: bytes | Exception) -> None:
        """What comes next; an empty chunk is the end, and so is an error."""
        for chunk in chunks:
            self.given.put_nowait(chunk)

    async def chunks(self, position: int) -> AsyncIterator[bytes]:
        while chunk := await self.given.get():
            if isinstance(chunk, Exception):
                self.ended.set()
                raise chunk
            yield chunk
        self.ended.set()


class Store:
    """What an appender asks of its store. It is full from a number of blocks on, and unavailable when told to be."""

    def __init__(self, *, room: int = 1000) -> None:
        self.room = room
        self.blocks: list[bytes] = []
        self.lasts: list[str] = []  # the fingerprints that came with the blocks
        self.stored = 0
        self.unavailable = False
        self.keeps = True  # on a disk, what was appended
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        self.on_call: Callable[[str], None] = lambda _: None  # is told of each question
        self.forgotten: list[str] = []

    @property
    def shards(self) -> tuple[Store, ...]:
        return (self,)

    def _answer(self, question: str) -> None:
        self.on_call(question)
        if self.unavailable:
            raise StoreUnavailable("unavailable")

    async def known(self, *, names: Sequence[str] = (), beginnings: Sequence[str] = ()) -> dict[str, Known]:
        self._answer("known")
        return {}

    async def append(self, *, source: str, blocks: Sequence[Block], bulk: bool = False) -> list[Append]:
        self._answer("append")
        outcomes: list[Append] = []
        for block in blocks:
            if block.start != self.stored:
                outcomes.append(Append("moved", self.stored))
            elif len(self.blocks) >= self.room:
                outcomes.append(Append("full", self.stored))
                break
            else:
                self.blocks.append(block.lines)
                self.lasts.append(block.last)
                self.stored = block.end
                outcomes.append(Append("appended", block.end))
        if self.before_answer is not None:
            await self.before_answer()
        return outcomes

    async def held(self) -> Held | None:
        return None

    async def has_room(self, *, bulk: bool = False) -> bool:
        self._answer("has_room")
        return len(self.blocks) < self.room

    async def reconcile_backlog(self) -> int:
        self._answer("reconcile_backlog")
        return 0

    async def wait_until_durable(self, source: str, *, timeout_seconds: float) -> bool:
        self._answer("wait_until_durable")
        return self.keeps

    async def position(self, source: str) -> int:
        self._answer("position")
        return self.stored

    async def renew_sources(self, names: Sequence[str]) -> None:
        pass

    async def register_sources(self, names: Sequence[str]) -> int:
        return 0

    async def forget_sources(self, names: Sequence[str], *, unseen_since_ms: int | None = None) -> None:
        self.forgotten += names
