"""What was counted. Reads only, in slices that never hold Redis up for long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from tally.keys import TOP_WORDS, Kind, all_time_key, window_key
from tally.ranges import Floors, TimeRange, Window, Windows
from tally.selections import Asked, TypesOf, WordsOf
from tally.store.apart import Apart, ByWord
from tally.store.client import errors_translated, execute
from tally.store.lua import ReadingScript
from tally.store.moved import WindowsMoved, again_while_moved, read_standing, sum_standing
from tally.store.status_reads import StatusReader
from tally.store.sums import NAMES_AT_ONCE, Gauge, Sums, Ungauged, add_up, read_rows, sizes, together
from tally.store.top_words import Top

_top_words = ReadingScript("top_words")


class CountReader(StatusReader):
    """Reads the counts of one shard, and how its pipeline is.

    Every method raises StoreUnavailable, and LayoutRefused for an unknown format.
    """

    #: Whether there are several shards; see MergedReader.
    several = False

    # All time.

    async def types(self) -> dict[str, int]:
        """Return the count of each event type over all time, the most frequent first."""
        return ranked(as_text(await self.sum_all("types")))

    async def words(self) -> dict[str, int]:
        """Return the count of each word over all time, the most frequent first."""
        return ranked(as_text(await self.sum_all("words")))

    async def sum_all(self, kind: Kind | WordsOf, *, gauge: Gauge | None = None) -> dict[bytes, int]:
        """Return the counts of all time: name in UTF-8 -> count. Raises what `gauge` raises, too."""
        keys = await self._keys_of(kind, [None])
        return (await add_up(self._redis, keys, gauge=gauge or Ungauged())).counts

    async def top_words(self) -> dict[str, int]:
        """Return the most frequent words of all time (at most TOP_WORDS), without reading the others."""
        return ranked(as_text((await self.top()).counts))

    async def top(self, *, most: int = TOP_WORDS) -> Top:
        """Return the same by name in UTF-8, so many at the most, and what is known of the others.

        While the sorted set lacks words because others were moved to `__other__`, those are left out that are not more
        frequent for certain.
        """
        keys = (self._keys.backlog, self._keys.top)
        lacked, flat = await _top_words.run(self._redis, keys, {"most": most})
        return Top(dict(zip(flat[::2], map(int, map(float, flat[1::2])), strict=True)), lacked)

    async def size(self, kind: Kind) -> int:
        """Return how many names there are of all time, `__other__` among them."""
        key = all_time_key(self._keys, kind)
        return (await sizes(self._redis, [key])).get(key, 0)

    async def count_of(self, kind: Asked, name: str) -> int:
        """Return how often this name was counted over all time."""
        (count,) = await self.count_each(kind, [name])
        return count

    async def count_each(self, kind: Asked, names: Sequence[str]) -> list[int]:
        """Return how often each of these names was counted over all time."""
        (counts,) = await self._counts(kind, names, [None])
        return counts

    async def hidden(self, kind: Kind | WordsOf, names: Sequence[str]) -> list[int]:
        """Return how much more often each of these names may have been counted over all time.

        One that is among all types or all words, not; of words of some types, see ApartReader.
        """
        return [0] * len(names) if isinstance(kind, str) else await self._apart.hidden(kind, names)

    async def counts_of(self, kind: Kind, names: Sequence[bytes]) -> list[int | None]:
        """Return how often each of these names was counted over all time; None for those that have no place there."""
        key, counts = all_time_key(self._keys, kind), []
        with errors_translated():
            for first in range(0, len(names), NAMES_AT_ONCE):
                counts += await self._redis.hmget(key, list(names[first : first + NAMES_AT_ONCE]))
        return [None if count is None else int(count) for count in counts]

    # Words by type.

    async def apart(self, types: Sequence[str]) -> list[Apart]:
        """Return what is known of each of these types: whether its words are counted apart."""
        return await self._apart.types(types)

    async def numbers(self) -> object:
        """Return what differs whenever another type has its words counted apart, or in another table."""
        return await self._apart.tables()

    async def all_by_word(self, kind: TypesOf, *, gauge: Gauge | None = None) -> ByWord:
        """Return how often words stand in events of each type, over all time. Raises what `gauge` raises, too."""
        return await self._apart.by_word(kind, [None], gauge=gauge or Ungauged())

    async def range_by_word(
        self,
        kind: TypesOf,
        start: float,
        end: float,
        *,
        gauge: Gauge | None = None,
        floors: Floors = (),
        windows: Windows | None = None,
    ) -> tuple[TimeRange, ByWord]:
        """Return the same of [start, end), as sum_range does."""
        look = self._look(floors, windows)

        async def add_up(windows: Sequence[Window]) -> ByWord:
            return await self._apart.by_word(kind, windows, gauge=gauge or Ungauged())

        async def read() -> tuple[TimeRange, ByWord]:
            found = ByWord()

            async def take(some: ByWord) -> None:
                found.add(some)

            return await sum_standing(look, start, end, add_up, take), found

        return await again_while_moved(read)

    # Time ranges.

    async def windows(self) -> Windows:
        """Return the windows that there are now, of the lengths that are counted, whatever is set here."""
        return await self._windows.windows()

    async def sum_range(
        self,
        kind: Kind | WordsOf,
        start: float,
        end: float,
        *,
        gauge: Gauge | None = None,
        floors: Floors = (),
        windows: Windows | None = None,
    ) -> tuple[TimeRange, dict[bytes, int]]:
        """Return the counts of [start, end), widened as Windows.time_range says: name in UTF-8 -> count.

        With `floors`, as if no more were kept than since these. `windows` are those that there were just now, if
        they are known. Raises what `gauge` raises, too.
        """

        gauge = gauge or Ungauged()
        look = self._look(floors, windows)

        async def read() -> tuple[TimeRange, dict[bytes, int]]:
            sums = Sums()

            async def add(windows: Sequence[Window]) -> Sums:
                return await add_up(self._redis, await self._keys_of(kind, windows), gauge=gauge, beside=[sums])

            try:
                found = await sum_standing(look, start, end, add, sums.take)
            except BaseException:
                await sums.clear()
                raise
            return found, sums.counts

        return await again_while_moved(read)

    async def counts_in(
        self,
        kind: Asked,
        names: Sequence[str],
        choose: Callable[[Windows], Iterable[Window]],
        *,
        floors: Floors = (),
        windows: Windows | None = None,
    ) -> tuple[Windows, dict[Window, list[int]]]:
        """Return the windows there are, and how often each name was counted in each of those that are chosen.

        Without names, how many events were counted in each, and of types by words how often these stand in all events.
        `floors` and `windows` are as those of sum_range.
        """

        async def read(windows: Sequence[Window]) -> list[list[int]]:
            return await self._counts(kind, names, windows)

        return await read_standing(self._look(floors, windows), choose, read)

    def _look(self, floors: Floors, first: Windows | None) -> Callable[[], Awaitable[Windows]]:
        """Return what tells which windows there are; at its first call what is known."""
        if not floors:
            return self.windows

        async def look() -> Windows:
            nonlocal first
            found, first = first or await self.windows(), None
            if len(found.lengths) != len(floors):
                raise WindowsMoved  # another layout was accepted
            return found.since(floors)

        return look

    async def _counts(self, kind: Asked, names: Sequence[str], windows: Sequence[Window | None]) -> list[list[int]]:
        """Return how often each name is counted in each of these windows (None: all time), or the sum of all names."""
        if not isinstance(kind, str):
            return await self._apart.counts(kind, names, windows)
        keys = [self._key_of(kind, window) for window in windows]
        if not names:
            return [[each] for each in await self._added_up(keys)]
        return [[count or 0 for count in row] for row in await read_rows(self._redis, keys, names)]

    async def _added_up(self, keys: Sequence[str]) -> list[int]:
        """Return the sum of all counts of each of these hashes."""
        sums = dict.fromkeys(keys, 0)
        found = await sizes(self._redis, keys)
        for group in together(found):
            if found[group[0]] > NAMES_AT_ONCE:
                large = await add_up(self._redis, group, gauge=Ungauged())
                sums[group[0]] = sum(large.counts.values())
                continue
            with errors_translated():
                pipeline = self._redis.pipeline(transaction=False)
                for key in group:
                    pipeline.hvals(key)
                for key, counts in zip(group, await execute(pipeline), strict=True):
                    sums[key] = sum(map(int, counts))
        return [sums[key] for key in keys]

    async def _keys_of(self, kind: Kind | WordsOf, windows: Sequence[Window | None]) -> list[str]:
        if isinstance(kind, str):
            return [self._key_of(kind, window) for window in windows]
        return await self._apart.keys_of(kind, windows)

    def _key_of(self, kind: Kind, window: Window | None) -> str:
        if window is None:
            return all_time_key(self._keys, kind)
        return window_key(self._keys, kind, window.seconds, window.start)


def as_text(counts: Mapping[bytes, int]) -> dict[str, int]:
    """Return the same counts under names as text; what in another client's is not UTF-8 is replaced."""
    return {name.decode("utf-8", "replace"): count for name, count in counts.items()}


def ranked(counts: dict[str, int]) -> dict[str, int]:
    """Return the same counts, the most frequent first, equal ones by name."""
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))
