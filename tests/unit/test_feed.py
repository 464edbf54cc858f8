"""How a feed ends: with all of its source in the stream, or saying that it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any

import pytest

from ingestor import feed as feed_module
from ingestor.feed import Feed, Incomplete
from ingestor.fingerprints import Fingerprint
from ingestor.sources.base import Lookup
from tally.backoff import Backoff
from tally.log_events import REDIS_AVAILABLE_AGAIN, REDIS_UNAVAILABLE
from tally.runtime import Failure
from tally.settings import Settings
from tally.store import Append, Block, Known, StoreUnavailable


class Lines:
    """A source that gives one chunk after the other as it is told."""

    label = "lines"

    def __init__(self, *, rereadable: bool, finite: bool) -> None:
        self.rereadable, self.finite = rereadable, finite
        self.given: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.ended = asyncio.Event()

    async def known_as(self, ask: Lookup, *, never: Collection[str] = ()) -> Known:
        return Known("lines#1")

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
    """What a feed asks of its store. It is full from a number of blocks on, and away when it is told to be."""

    def __init__(self, *, room: int = 1000) -> None:
        self.room = room
        self.blocks: list[bytes] = []
        self.stored = 0
        self.away = False
        self.before_answer: Callable[[], Any] | None = None

    async def known(self, **_: Any) -> dict[str, Known]:
        return {}

    async def append(self, *, source: str, blocks: Sequence[Block]) -> list[Append]:
        if self.away:
            raise StoreUnavailable("away")
        outcomes = []
        for block in blocks:
            if len(self.blocks) >= self.room:
                outcomes.append(Append("full", self.stored))
                break
            self.blocks.append(block.lines)
            self.stored = block.end
            outcomes.append(Append("appended", block.end))
        if self.before_answer is not None:
            await self.before_answer()
        return outcomes

    async def has_room(self) -> bool:
        return len(self.blocks) < self.room

    async def wait_until_durable(self, source: str, *, timeout_seconds: float) -> bool:
        return True

    async def position(self, source: str) -> int:
        return self.stored

    async def renew_sources(self, names: Sequence[str]) -> None:
        pass

    async def register_sources(self, names: Sequence[str]) -> int:
        return 0

    async def forget_sources(self, names: Sequence[str]) -> None:
        pass


class Log:
    """What was logged: the sentences, each with its fields."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def bind(self, **_: Any) -> Log:
        return self

    def note(self, sentence: str, **fields: Any) -> None:
        self.said.append((sentence, fields))

    info = warning = error = note

    async def says(self, sentence: str) -> None:
        """Wait until it does."""
        async with asyncio.timeout(10):
            while sentence not in [said for said, _ in self.said]:
                await asyncio.sleep(0)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr(feed_module, "get_logger", lambda: log)
    monkeypatch.setattr(feed_module, "FLUSH_SECONDS", 0.05)
    return log


def _feed(source: Lines, store: Any, stop: asyncio.Event, **options: Any) -> Feed:
    return Feed(source, store=store, settings=Settings(), stop=stop, **options)


async def _stopped_at(position: int, source: Lines, store: Store, stop: asyncio.Event) -> None:
    """Run a feed and stop it when so much is in the stream."""
    running = asyncio.create_task(_feed(source, store, stop).run())
    async with asyncio.timeout(10):
        while store.stored < position or not source.given.empty():
            await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(running, 10)


@pytest.mark.parametrize("rereadable", [True, False])
async def test_a_finite_source_that_is_stopped_before_its_end_is_a_failure(log: Log, rereadable: bool) -> None:
    source, store, stop = Lines(rereadable=rereadable, finite=True), Store(), asyncio.Event()
    source.give(b"a\nb\nc")
    with pytest.raises(Incomplete, match=r"^stopped at position 4, before its end(; run it again.*)?$"):
        await _stopped_at(4, source, store, stop)
    assert log.said[-1][0] == "source stopped"
    assert log.said[-1][1]["position"] == 4, "what is in the stream, not what was read"


@pytest.mark.parametrize("rereadable", [True, False])
async def test_a_source_without_an_end_is_stopped_without_a_failure(log: Log, rereadable: bool) -> None:
    source, store, stop = Lines(rereadable=rereadable, finite=False), Store(), asyncio.Event()
    source.give(b"a\nb\nc")
    await _stopped_at(4, source, store, stop)
    assert log.said[-1][0] == "source stopped"


@pytest.mark.parametrize("finite", [True, False])
async def test_what_is_thrown_away_is_a_failure_and_nobody_says_that_redis_lost_it(log: Log, finite: bool) -> None:
    source, store, stop = Lines(rereadable=False, finite=finite), Store(room=1), asyncio.Event()

    async def give_more() -> None:
        store.before_answer = None
        source.give(b"bb\n")

    store.before_answer = give_more
    source.give(b"a\n")
    running = asyncio.create_task(_feed(source, store, stop).run())
    await log.says("stream is full, source is not read for now")
    stop.set()
    with pytest.raises(Incomplete, match=r"^3 bytes of it are lost"):
        await asyncio.wait_for(running, 10)
    assert [(sentence, fields) for sentence, fields in log.said if "lost_bytes" in fields] == [
        ("stopped before Redis had taken everything: lines that cannot be read again may be lost", {"lost_bytes": 3})
    ]
    assert (log.said[-1][0], log.said[-1][1]["position"]) == ("source stopped", 2)


async def test_what_redis_did_not_take_before_it_went_away_is_said_to_be_lost(log: Log) -> None:
    source, store, stop = Lines(rereadable=False, finite=False), Store(), asyncio.Event()
    store.away = True
    source.give(b"a\nb\n")
    running = asyncio.create_task(_feed(source, store, stop).run())
    await log.says(REDIS_UNAVAILABLE)
    stop.set()
    with pytest.raises(Incomplete, match=r"^4 bytes of it are lost"):
        await asyncio.wait_for(running, 10)


async def test_a_source_that_has_ended_when_it_is_stopped_has_its_last_line_appended(log: Log) -> None:
    source, store, stop = Lines(rereadable=False, finite=True), Store(), asyncio.Event()

    async def end_and_stop() -> None:
        source.give(b"no line end", b"")
        await source.ended.wait()
        await asyncio.sleep(0)
        store.before_answer = None
        stop.set()

    store.before_answer = end_and_stop
    source.give(b"a\n")
    await asyncio.wait_for(_feed(source, store, stop).run(), 10)
    assert store.blocks == [b"a", b"no line end"]
    assert (log.said[-1][0], log.said[-1][1]["position"]) == ("source ended", 13)


async def test_a_stream_that_is_full_again_and_again_is_told_of_once(log: Log) -> None:
    source, stop = Lines(rereadable=False, finite=True), asyncio.Event()
    store: Any = Store(room=1)
    asked = 0

    async def has_room() -> bool:
        nonlocal asked
        asked += 1
        store.room += asked % 2  # it is found full once each time
        return bool(asked % 2)

    store.has_room = has_room
    source.give(*(b"%0600d\n" % number for number in range(9)), b"")
    feed = Feed(source, store=store, settings=Settings(max_block_bytes=1024), stop=stop)
    await asyncio.wait_for(feed.run(), 10)
    assert len(store.blocks) == 9
    assert [said for said, _ in log.said if said.startswith("stream")] == [
        "stream is full, source is not read for now",
        "stream has room again",
    ]


async def test_a_redis_that_is_away_is_told_of_once_and_when_it_is_back(log: Log) -> None:
    source, store, stop = Lines(rereadable=False, finite=True), Store(), asyncio.Event()
    store.away = True
    tries = 0

    def no_wait(*_: float) -> float:
        nonlocal tries
        tries += 1
        store.away = tries < 5
        return 0.0

    source.give(b"a\n", b"")
    await asyncio.wait_for(_feed(source, store, stop, backoff=Backoff(jitter=no_wait)).run(), 10)
    assert [said for said, _ in log.said if said.startswith("redis")] == [REDIS_UNAVAILABLE, REDIS_AVAILABLE_AGAIN]
    assert tries == 5


@pytest.mark.parametrize("finite", [True, False])
async def test_what_a_source_gave_before_it_failed_is_appended_though_it_is_stopped_as_well(
    log: Log, finite: bool
) -> None:
    source, store, stop = Lines(rereadable=False, finite=finite), Store(), asyncio.Event()

    async def fail_and_stop() -> None:
        source.give(b"bb\n", Failure("broken"))
        await source.ended.wait()
        await asyncio.sleep(0)
        store.before_answer = None
        stop.set()

    store.before_answer = fail_and_stop
    source.give(b"a\n")
    with pytest.raises(Failure, match=r"^broken$"):
        await asyncio.wait_for(_feed(source, store, stop).run(), 10)
    assert store.blocks == [b"a", b"bb"]


async def test_what_a_source_that_failed_gave_is_said_to_be_lost_if_redis_does_not_take_it(log: Log) -> None:
    source, store, stop = Lines(rereadable=False, finite=False), Store(), asyncio.Event()
    store.away = True
    source.give(b"a\n", Failure("broken"))
    running = asyncio.create_task(_feed(source, store, stop).run())
    await log.says(REDIS_UNAVAILABLE)
    stop.set()
    with pytest.raises(Failure, match=r"^broken$"):
        await asyncio.wait_for(running, 10)
    assert [fields["lost_bytes"] for _, fields in log.said if "lost_bytes" in fields] == [2]


class Remembered(Lines):
    """A source that can be read again, of which something is stored under each of its names."""

    def __init__(self, *known: Known) -> None:
        super().__init__(rereadable=True, finite=False)
        self.known = list(known)
        self.asked: list[set[str]] = []

    async def known_as(self, ask: Lookup, *, never: Collection[str] = ()) -> Known:
        self.asked.append(set(never))
        return self.known.pop(0)


def _read_of(name: str, content: bytes) -> Known:
    return Known(name, len(content), str(Fingerprint.of(content)))


async def test_what_stands_before_the_position_tells_whether_a_source_is_the_one_that_it_is_known_as(log: Log) -> None:
    source = Remembered(_read_of("first", b"abc\n"), _read_of("second", b"abcd\n"), Known("third"))
    store, stop = Store(), asyncio.Event()
    source.give(b"ab", b"d\n")  # other bytes
    source.give(b"ab", b"")  # not so many
    source.give(b"xyz\n")
    await _stopped_at(4, source, store, stop)
    assert source.asked == [set(), {"first"}, {"first", "second"}]
    assert store.blocks == [b"xyz"]
    assert [fields["name"] for said, fields in log.said if said.startswith("what was read under this name")] == [
        "first",
        "second",
    ]


async def test_each_block_has_a_fingerprint_of_the_bytes_before_its_end_also_of_those_before_the_position(
    log: Log,
) -> None:
    source, stop = Remembered(_read_of("s", b"abc\n")), asyncio.Event()
    store: Any = Store()
    lasts: list[str] = []

    async def append(*, source: str, blocks: Sequence[Block]) -> list[Append]:
        lasts.extend(block.last for block in blocks)
        return await Store.append(store, source=source, blocks=blocks)

    store.append = append
    source.give(b"abc\nd\n")
    await _stopped_at(6, source, store, stop)
    assert lasts == [str(Fingerprint.of(b"abc\nd\n"))]


async def test_a_setback_is_told_before_anything_is_appended_again(log: Log) -> None:
    source, store, stop = Remembered(Known("s"), Known("s"), Known("s")), Store(), asyncio.Event()
    told: list[int] = []

    async def on_setback() -> None:
        told.append(len(store.blocks))
        if len(told) == 1:
            raise StoreUnavailable("away")
        source.give(b"a\nb\n")

    feed = _feed(source, store, stop, on_setback=on_setback, backoff=Backoff(most_seconds=0))
    running = asyncio.create_task(feed.run())
    source.give(b"a\n")
    async with asyncio.timeout(10):
        while feed.position < 2:
            await asyncio.sleep(0)
        store.stored, store.blocks = 0, []  # it has forgotten
        feed.set_back()
        while feed.position < 4:
            await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(running, 10)
    assert told == [0, 0]
    assert store.blocks == [b"a\nb"]
