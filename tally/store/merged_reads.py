"""What was counted, over several shards: sums of what CountReader tells of each.

Shards are read at the same time, and each as of a moment of its own. Where one cannot be asked there is no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from tally.keys import OTHER, TOP_WORDS, Kind
from tally.ranges import TimeRange, Window, Windows, WindowStarts, highest
from tally.selections import Asked, TypesOf, WordsOf
from tally.settings import Settings
from tally.store.apart import Apart, ByWord
from tally.store.counting import Counting
from tally.store.merged_status import MergedStatusReader
from tally.store.moved import WindowsMoved, again_while_moved
from tally.store.reads import CountReader, as_text, ranked
from tally.store.shards import Shards
from tally.store.status import Names
from tally.store.sums import Gauge
from tally.store.together import few_at_once, together
from tally.store.top_words import DEPTH, Top, candidates, proven
from tally.store.united import add_up_all

#: Of so many names in all shards together it is looked which are the same, whenever there are new ones.
FEW_NAMES = 20_000


class MergedReader(MergedStatusReader):
    """Reads the counts of all shards. Its methods are those of CountReader, and raise the same."""

    #: Whether there are several shards: then some answers are bounds.
    several = True

    def __init__(self, shards: Shards, *, settings: Settings) -> None:
        super().__init__(shards, settings=settings)
        # When they were all read: the names of each shard, how often some had been moved there, and the names of all.
        self._united: dict[Kind, tuple[list[int], list[int], int]] = {}

    # All time.

    async def types(self) -> dict[str, int]:
        """Return the count of each event type over all time, the most frequent first."""
        return ranked(as_text(await self.sum_all("types")))

    async def words(self) -> dict[str, int]:
        """Return the count of each word over all time, the most frequent first."""
        return ranked(as_text(await self.sum_all("words")))

    async def sum_all(self, kind: Kind | WordsOf, *, gauge: Gauge | None = None) -> dict[bytes, int]:
        """Return the counts of all time: name in UTF-8 -> count. Raises what `gauge` raises, too."""

        async def read(reader: CountReader, part: Gauge) -> tuple[tuple[int, int], dict[bytes, int]]:
            names, _, moves = await reader.distinct(kind) if isinstance(kind, str) else (0, 0, 0)
            return (names, moves), await reader.sum_all(kind, gauge=part)

        found, counts = await add_up_all(self._readers, read, gauge=gauge, shards=self._places)
        if isinstance(kind, str):
            each, moves = [names for names, _ in found], [moves for _, moves in found]
            self._united[kind] = each, moves, len(counts) - (OTHER.encode() in counts)
        return counts

    async def names(self, kind: Kind) -> Names:
        """Return how many names there are of all time: exactly of few, or as long as there are no new ones.

        They are all there until some are moved to `__other__`. So what was added to shards since they were all read is
        so many new ones, or fewer where several shards, or what was read, have them, too.
        """
        found = await self._each(lambda reader: reader.distinct(kind))
        each, other = [names for names, _, _ in found], sum(count for _, count, _ in found)
        moves = [moved for *_, moved in found]
        before, moves_before, united = self._united.get(kind, ([], [], 0))
        if (before, moves_before) != (each, moves) and sum(each) <= FEW_NAMES:
            await self.sum_all(kind)
            before, moves_before, united = self._united[kind]
        if moves_before != moves or any(now < then for then, now in zip(before, each, strict=True)):
            before, united = [0] * len(each), 0  # not read yet, or moved or flushed since
        at_most = united + sum(each) - sum(before)
        return Names(max(united, *each), at_most, other)

    async def top_words(self) -> dict[str, int]:
        """Return the most frequent words of all time, as many as are so for certain; TOP_WORDS at the most.

        The others are not read. If these are too few, all must be: see top_words.
        """
        tops = await self._tops()
        asked = candidates(tops)
        # Of those that it does not tell as its own most frequent ones, each shard is asked.
        missing = [[name for name in asked if name not in top.counts] if top.floor else [] for top in tops]
        found = await together(
            [reader.counts_of("words", names) for reader, names in zip(self._readers, missing, strict=True)],
            shards=self._places,
        )
        sums = {name: sum(top.counts.get(name, 0) for top in tops) for name in asked}
        for names, counts in zip(missing, found, strict=True):
            for name, count in zip(names, counts, strict=True):
                sums[name] += count or 0
        later = await self._tops() if any(missing) else tops
        top_words = ranked(as_text(proven(sums, later)))
        return dict(islice(top_words.items(), TOP_WORDS))

    async def _tops(self) -> list[Top]:
        return await self._each(lambda reader: reader.top(most=DEPTH))

    async def size(self, kind: Kind) -> int:
        """Return how many names there are of all time at the most, `__other__` among them."""
        return sum(await self._each(lambda reader: reader.size(kind)))

    async def count_of(self, kind: Asked, name: str) -> int:
        """Return how often this name was counted over all time; see `hidden` for what may be under `__other__`."""
        return sum(await self._each(lambda reader: reader.count_of(kind, name)))

    async def count_each(self, kind: Asked, names: Sequence[str]) -> list[int]:
        """Return how often each of these names was counted over all time; see `hidden`, too."""
        each = await self._each(lambda reader: reader.count_each(kind, names))
        return [sum(counts) for counts in zip(*each, strict=True)]

    async def hidden(self, kind: Kind | WordsOf, names: Sequence[str]) -> list[int]:
        """Return how much more often each of these names may have been counted over all time.

        That is what is under `__other__` in shards where it has no place of its own.
        """
        if isinstance(kind, WordsOf):
            each = await self._each(lambda reader: reader.hidden(kind, names))
            return [sum(shards) for shards in zip(*each, strict=True)]
        asked = [OTHER.encode(), *(name.encode("utf-8", "replace") for name in names)]
        found = await self._each(lambda reader: reader.counts_of(kind, asked))
        return [
            sum(other or 0 for other, *counts in found if counts[at] is None) if name != OTHER else 0
            for at, name in enumerate(names)
        ]

    # Words by type.

    async def apart(self, types: Sequence[str]) -> list[Apart]:
        """Return what is known of each of these types: whether its words are counted apart, in any shard or in all."""
        each = await self._each(lambda reader: reader.apart(types))
        return [Apart.of_all(shards) for shards in zip(*each, strict=True)]

    async def numbers(self) -> object:
        """Return what differs whenever another type has its words counted apart, or in another table."""
        return await self._each(lambda reader: reader.numbers())

    async def all_by_word(self, kind: TypesOf, *, gauge: Gauge | None = None) -> ByWord:
        """Return how often words stand in events of each type, over all time. Raises what `gauge` raises, too."""
        return ByWord.of_all(await self._each(lambda reader: reader.all_by_word(kind, gauge=gauge)))

    async def range_by_word(
        self, kind: TypesOf, start: float, end: float, *, gauge: Gauge | None = None
    ) -> tuple[TimeRange, ByWord]:
        """Return the same of [start, end), as sum_range does."""

        async def read() -> tuple[TimeRange, ByWord]:
            each, reach = await self._look()
            whole = reach.time_range(start, end)

            async def of(one: tuple[CountReader, Windows]) -> tuple[TimeRange, ByWord]:
                reader, windows = one
                return await reader.range_by_word(kind, start, end, gauge=gauge, floors=reach.floors, windows=windows)

            found = await few_at_once(list(each.values()), of, shards=list(each))
            _raise_unless_alike([one for one, _ in found], whole)
            return whole, ByWord.of_all([by_word for _, by_word in found])

        return await again_while_moved(read)

    # Time ranges.

    async def counting(self) -> Counting:
        """Return how lines are counted, whatever is set here; where nothing was counted yet, as is set."""
        return await self._home.counting()

    async def windows(self) -> Windows:
        """Return how far back all shards reach; of the windows themselves, none."""

        async def look() -> Windows:
            return (await self._look())[1]

        return await again_while_moved(look)

    async def _look(self) -> tuple[dict[int, tuple[CountReader, Windows]], Windows]:
        """Return the shards that have windows by their places, and what `windows` does. Raises WindowsMoved.

        A shard without any may have no layout yet.
        """
        lengths = (await self.counting()).lengths
        found = {}
        all_windows = await self._each(lambda reader: reader.windows())
        for place, reader, windows in zip(self._places, self._readers, all_windows, strict=True):
            if windows.lengths == lengths:
                found[place] = reader, windows
            elif windows.all():
                raise WindowsMoved  # another layout is being accepted
        floors = highest([windows.floors for _, windows in found.values()]) if found else [None] * len(lengths)
        return found, Windows(lengths, [WindowStarts((), floor=floor) for floor in floors])

    async def sum_range(
        self, kind: Kind | WordsOf, start: float, end: float, *, gauge: Gauge | None = None
    ) -> tuple[TimeRange, dict[bytes, int]]:
        """Return the counts of [start, end), widened and cut off to what all shards keep: name in UTF-8 -> count.

        Raises what `gauge` raises, too.
        """

        async def read() -> tuple[TimeRange, dict[bytes, int]]:
            each, reach = await self._look()
            whole = reach.time_range(start, end)

            async def of(one: tuple[CountReader, Windows], part: Gauge) -> tuple[TimeRange, dict[bytes, int]]:
                reader, windows = one
                return await reader.sum_range(kind, start, end, gauge=part, floors=reach.floors, windows=windows)

            found, counts = await add_up_all(list(each.values()), of, gauge=gauge, shards=list(each))
            _raise_unless_alike(found, whole)
            return whole, counts

        return await again_while_moved(read)

    async def counts_in(
        self, kind: Asked, names: Sequence[str], choose: Callable[[Windows], Iterable[Window]]
    ) -> tuple[Windows, dict[Window, list[int]]]:
        """Return the windows that any shard has, and how often each name was counted in each of those that are chosen.

        Without names, as CountReader. What `choose` chooses of the windows there are must depend on the floors alone.
        """

        async def read() -> tuple[Windows, dict[Window, list[int]]]:
            each, reach = await self._look()
            if not each:
                return reach, {}

            async def of(one: tuple[CountReader, Windows]) -> tuple[Windows, dict[Window, list[int]]]:
                reader, windows = one
                return await reader.counts_in(kind, names, choose, floors=reach.floors, windows=windows)

            found = await few_at_once(list(each.values()), of, shards=list(each))
            merged = Windows.of_all([windows for windows, _ in found])
            if any(_differ(windows, windows.since(merged.floors), choose) for windows, _ in found):
                raise WindowsMoved  # a shard no longer reaches as far back as others took it to
            counted: dict[Window, list[int]] = {}
            for _, counts in found:
                for window, row in counts.items():
                    before = counted.get(window)
                    counted[window] = row if before is None else [a + b for a, b in zip(before, row, strict=True)]
            return merged, counted

        return await again_while_moved(read)


def _raise_unless_alike(found: Sequence[TimeRange], whole: TimeRange) -> None:
    """Raise WindowsMoved if a shard no longer reaches as far back as it did."""
    if any((one.start, one.end) != (whole.start, whole.end) for one in found):
        raise WindowsMoved


def _differ(these: Windows, those: Windows, choose: Callable[[Windows], Iterable[Window]]) -> bool:
    """Return whether other windows are chosen of the one than of the other, which differ by their floors alone."""
    return tuple(these.floors) != tuple(those.floors) and set(choose(these)) != set(choose(those))


#: What reads counts, of one shard or of all.
Reader = CountReader | MergedReader


def reader_of(shards: Shards, *, settings: Settings) -> Reader:
    """Return what reads the counts of these shards. One is asked itself."""
    if len(shards) > 1:
        return MergedReader(shards, settings=settings)
    return CountReader(shards[0].redis, keys=shards[0].keys, settings=settings)
