"""Parameters of the query API, and what of them contradicts each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, field_validator

from api.moments import AskedMoment, Duration, read_duration
from api.name_filter_params import Excluded, NameFilterParams
from api.param_reading import Optional, Strict
from tally.ranges import last_windows

Format = Literal["json", "csv", "ndjson"]
AnyFormat = Annotated[
    Optional[Format],
    Field(description="json, csv or ndjson; else what the header Accept prefers", examples=["csv"]),
]
AnswerInPart = Annotated[
    bool,
    Field(
        description="If some shards are unavailable, answer from the others: `missing_shards` and the header "
        "Tally-Missing-Shards say which, and every count is a lower bound then. Without it that is a 503",
        examples=[True],
    ),
]
Order = Literal["-count", "count", "name", "-name", "-change", "change"]


class TimeRangeParams(Strict):
    """A time range: a trailing window, or from one moment to another; neither: all time."""

    window: Optional[Duration] = Field(
        None, description="A trailing window: so long until now, widened to whole windows", examples=["15m", "6h", "1d"]
    )
    start: Optional[AskedMoment] = Field(
        None,
        alias="from",
        description="From this moment on; `to` is now unless it is given. `now`, or so much before it; a date, which "
        "is where the day begins in UTC; RFC 3339; or Unix seconds",
        examples=["now-1h", "2026-11-23", "2026-11-23T14:00:00Z", "1632663984"],
    )
    end: Optional[AskedMoment] = Field(
        None,
        alias="to",
        description="Until this moment, exclusive: with a date all days before it",
        examples=["2026-11-23T15:00:00+01:00", "now"],
    )

    def contradictions(self, *, now: float) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with the bounds."""
        if self.window is not None and (self.start is not None or self.end is not None):
            yield "window", "give either window or from and to, not both"
        elif self.end is not None and self.start is None:
            yield "from", "to needs a from"
        elif self.start is not None and self.end is not None and self.start.at(now) >= self.end.at(now):
            yield "from", "it must be before to, which is exclusive"
        elif self.start is not None and self.end is None and self.start.at(now) >= now:
            yield "from", "without to, it must be before now"

    def bounds(self, *, unit_seconds: int, now: float) -> tuple[int, int] | None:
        """[from, to) in whole windows of `unit_seconds`, in Unix seconds; None for all time.

        `window=15m` ends with the current window, so that it has what was counted a second ago, and begins with the
        one of fifteen minutes ago, so that it has no less than was asked for.
        """
        if self.window is None and self.start is None:
            return None
        if self.window is not None:
            return last_windows(self.window, unit_seconds=unit_seconds, now=now)
        assert self.start is not None
        first = int(self.start.at(now) // unit_seconds) * unit_seconds
        if self.end is None:
            return first, max(last_windows(0, unit_seconds=unit_seconds, now=now)[1], first + unit_seconds)
        return first, -int(-self.end.at(now) // unit_seconds) * unit_seconds

    def closed(self, *, unit_seconds: int, now: float) -> tuple[int, int] | None:
        """[from, to) in whole windows of `unit_seconds` that are over; None if there are none, and for all time.

        A `window` is as long as was asked for, at least, and ends with the last window that is over.
        """
        end = int(now // unit_seconds) * unit_seconds
        if self.window is not None:
            start = end + -self.window // unit_seconds * unit_seconds
        elif self.start is not None:
            start = int(self.start.at(now) // unit_seconds) * unit_seconds
        else:
            return None
        if self.end is not None:
            end = min(end, -int(-self.end.at(now) // unit_seconds) * unit_seconds)
        return (start, end) if start < end else None


#: Why both time ranges are chosen together is told in CachedCounts.comparison.
COMPARE = """Add the change against the time range before.

`change` is `present` less `previous`: counts of two time ranges of equal length, which meet and do not overlap;
`comparison` has their bounds. They are made of minutes if minutes are kept as far back as the earlier one begins,
else of hours or days, and the present one ends with the last of these that is over: the current one, set against a
whole one, would always seem to fall. So `count`, which has what was counted a second ago, may be more than `present`.

`comparison`, `present`, `previous` and `change` are null if nothing of the time range is over yet, or the one before
it is no longer kept."""


#: What stands in a cursor's place to begin with.
BEGIN = "*"

#: What a cursor looks like.
CURSOR_FORM = re.compile(r"^(\*|[A-Za-z0-9_-]{8,200})$")

CURSOR = """Read a list page by page as it was at one moment, however much is counted meanwhile.

No name comes twice, and none is left out. Begin with `*`, and go on with `next` of the answer, or the address in its
header Link (rel="next"), until there is none. The list is held for a minute after each page, within the api's memory.
What was asked for stays as it was: with the next cursor it may be left out, or sent again. Only `limit` and `format`
may change."""

#: How many items a page of a list has at the most, and if it is not said.
MOST_ITEMS, DEFAULT_ITEMS = 10_000, 100


class RankingParams(NameFilterParams, TimeRangeParams):
    """What /v1/types and /v1/words take."""

    limit: Optional[int] = Field(
        None,
        ge=1,
        le=MOST_ITEMS,
        description="Items at the most: without it 100 as JSON and with a cursor, and as CSV and NDJSON all, however "
        "many there are",
        examples=[20],
    )
    cursor: Optional[str] = Field(
        None,
        description=CURSOR,
        examples=["*"],
        json_schema_extra={"pattern": CURSOR_FORM.pattern},
    )
    offset: int = Field(0, ge=0, le=1_000_000_000, description="Items to leave out at the beginning", examples=[20])
    order: Order = Field(
        "-count",
        description="By count, name or change; a minus for the largest first. By change also names that are only in "
        "the time range before, with a count of 0",
        examples=["-count", "name", "change"],
    )
    compare: Optional[Literal["previous"]] = Field(None, description=COMPARE, examples=["previous"])
    format: AnyFormat = None
    partial: AnswerInPart = False

    @property
    def most_items(self) -> int:
        """Return how many items a page has at the most."""
        return DEFAULT_ITEMS if self.limit is None else self.limit

    @field_validator("cursor")
    @classmethod
    def _cursor_looks_like_one(cls, cursor: str | None) -> str | None:
        if cursor is not None and not CURSOR_FORM.fullmatch(cursor):
            raise ValueError("begin with cursor=*, and go on with the `next` of each answer")
        return cursor

    def contradictions(self, *, now: float) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with the bounds, and comparisons of what cannot be compared."""
        if self.cursor is not None and self.offset:
            yield "offset", "a cursor leads to a place of its own; leave it out"
        if self.cursor not in (None, BEGIN):
            return  # what was asked for is known since the list was begun
        yield from super().contradictions(now=now)
        if self.compare and self.window is None and self.start is None:
            yield "compare", "all time has nothing before it; give window, or from and to"
        if "change" in self.order and not self.compare:
            yield "order", "by change needs compare=previous"


class SeriesRange(TimeRangeParams):
    """A time range on a grid."""

    step: Optional[Duration] = Field(
        None, description="Width of a cell; by default one that makes a few hundred cells", examples=["1m"]
    )


_Names = Annotated[
    list[str],
    Field(
        max_length=50,
        description="A name to count; the parameter may be given several times",
        examples=[["foo"], ["foo", "bar"]],
        json_schema_extra={"uniqueItems": True},
    ),
]


class TypeSeriesParams(SeriesRange):
    """What /v1/types:series takes. Without a name all events are counted."""

    name: _Names = Field(default=[], description="A type to count; it may be given several times; all events without")
    format: AnyFormat = None
    partial: AnswerInPart = False

    @field_validator("name")
    @classmethod
    def _names_differ(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError("the same name was given more than once; give each once")
        return names


class WordSeriesParams(TypeSeriesParams):
    """What /v1/words:series takes."""

    name: _Names = Field(min_length=1, description="A word to count; it may be given several times")


class NameParams(SeriesRange):
    """What the answers about one name take."""

    partial: AnswerInPart = False


class TypeLookupParams(NameParams):
    """What /v1/types:lookup takes."""

    name: str = Field(max_length=4096, description="The type", examples=["foo"])


class WordLookupParams(NameParams):
    """What /v1/words:lookup takes."""

    name: str = Field(max_length=4096, description="The word", examples=["lorem"])


class TrendingParams(Strict):
    """What /v1/types:trending and /v1/words:trending take."""

    # A factory, for a plain default stands in the OpenAPI document as it is: a number, and not a duration.
    window: Duration = Field(
        default_factory=lambda: read_duration("15m"),
        description="How long 'now' is",
        examples=["15m", "1h"],
        json_schema_extra={"default": "15m"},
    )
    limit: int = Field(10, ge=1, le=1000, description="Items at the most", examples=[5])
    least_ratio: float = Field(
        1,
        ge=1,
        le=1_000_000,
        allow_inf_nan=False,
        description="Only names that are at least so many times as frequent as before, and new ones",
        examples=[1.5],
    )
    exclude: Excluded = Field(default=[], description="A name to leave out; it may be given several times")
    format: AnyFormat = None
    partial: AnswerInPart = False


class LiveParams(Strict):
    """What /v1/live takes."""

    type: _Names = Field(
        default=[], max_length=20, description="Tell of events of this type, too; it may be given several times"
    )
    word: _Names = Field(
        default=[],
        max_length=20,
        description="Tell how often this word stands in events, too, and with `type` in events of these; it may be "
        "given several times",
    )

    @field_validator("type", "word")
    @classmethod
    def _names_differ(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError("the same name was given more than once; give each once")
        return names


class LimitParams(Strict):
    """What the answers under /events take."""

    limit: Optional[int] = Field(
        None, ge=1, le=100_000_000, description="The most frequent so many; all by default", examples=[10]
    )


class NoParams(Strict):
    """For routes without parameters."""
