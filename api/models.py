"""The shapes of answers about names. Moments, whose names end with `_at`, and ends of time ranges are Unix seconds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

_GRID = {
    "from": 1632663960,
    "to": 1632664080,
    "total": 3,
    "step_seconds": 60,
    "starts_at": [1632663960, 1632664020],
}


def example(answer: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [answer]})


AsOf = Annotated[
    float, Field(description="When it was read: what was counted before is in it", examples=[1632664801.25])
]


MissingShards = Annotated[
    list[int] | None,
    Field(
        description="With partial=true, if some shards are unavailable: these are not in the answer, and its counts "
        "are lower bounds. Never there in an answer about all shards"
    ),
]


Since = Annotated[
    int | None,
    Field(
        description="With `type`: since when words of these types are counted apart, of several the latest; what was "
        "counted before is not in it. With `word` null. Never there without a filter"
    ),
]

Elsewhere = Annotated[
    int | None,
    Field(
        description="With `word`: how often the words stand in events of types without words of their own, or before "
        "their types had any"
    ),
]


class Item(BaseModel):
    name: str = Field(examples=["foo"])
    count: int = Field(examples=[3])
    share: float = Field(description="Of `total`, whatever is filtered", examples=[0.25])
    present: int | None = Field(None, description="Its count in `comparison.present`; with compare=previous")
    previous: int | None = Field(None, description="Its count in `comparison.previous`; with compare=previous")
    change: int | None = Field(None, description="`present` less `previous`; with compare=previous")
    at_most: int | None = Field(
        None,
        description="With several shards, and with `type` or `word`: its count and what it may have under `__other__` "
        "where there was no room for its name; null if shards are missing, or do not count words by one of the types; "
        "otherwise `count` is exact",
    )


class TimeRange(BaseModel):
    start: int = Field(alias="from", description="Where it begins", examples=[1632663960])
    end: int = Field(alias="to", description="Where it ends, exclusive", examples=[1632664860])
    total: int = Field(description="All counts in it", examples=[11])


class ComparisonAnswer(BaseModel):
    present: TimeRange = Field(description="What is over of the time range")
    previous: TimeRange = Field(description="As long as `present`, and ends where that begins")


class RankingAnswer(BaseModel):
    model_config = example(
        {
            "items": [{"name": "foo", "count": 3, "share": 0.75, "present": 2, "previous": 1, "change": 1}],
            "total": 4,
            "distinct": 2,
            "matched": 2,
            "other": 0,
            "from": 1632663120,
            "to": 1632664080,
            "comparison": {
                "present": {"from": 1632663120, "to": 1632664020, "total": 3},
                "previous": {"from": 1632662220, "to": 1632663120, "total": 1},
            },
            "as_of": 1632664031.25,
        }
    )

    items: list[Item]
    total: int = Field(description="All counts of the time range, whatever is filtered", examples=[12])
    distinct: int = Field(description="Names in the time range, whatever is filtered", examples=[4])
    distinct_at_most: int | None = Field(
        None,
        description="With several shards, which may have the same names: larger than `distinct` where only the first "
        "of very many were read; null if shards are missing",
    )
    matched: int = Field(
        description="Names that pass `prefix`, `q`, `regex` and `exclude`; ordered by change also those of the time "
        "range before",
        examples=[4],
    )
    other: int = Field(description="Counts of names over a bound, which have no name of their own", examples=[0])
    start: int | None = Field(None, alias="from", description="Null for all time", examples=[1632663960])
    end: int | None = Field(None, alias="to", examples=[1632664860])
    comparison: ComparisonAnswer | None = Field(
        None, description="What is compared, with compare=previous; null if it cannot be, see there"
    )
    since: Since = None
    elsewhere: Elsewhere = None
    next: str | None = Field(
        None,
        description="The cursor of the next page; null: this is the last one. Not in answers to `offset`, nor where "
        "not all names were read: there begin with cursor=*",
        examples=["lsRcZ2kF"],
    )
    as_of: AsOf
    missing_shards: MissingShards = None


class NamedSeries(BaseModel):
    name: str | None = Field(description="Null: all events")
    counts: list[int]


class Grid(TimeRange):
    step_seconds: int = Field(description="Width of a cell", examples=[60])
    starts_at: list[int] = Field(description="When each cell begins")


class SeriesAnswer(Grid):
    model_config = example({**_GRID, "series": [{"name": "foo", "counts": [2, 1]}], "as_of": 1632664031.25})

    series: list[NamedSeries]
    since: Since = None
    as_of: AsOf
    missing_shards: MissingShards = None


class OneSeries(Grid):
    counts: list[int]


class NameAnswer(BaseModel):
    model_config = example(
        {
            "name": "foo",
            "count": 3,
            "share": 0.75,
            "rank": 1,
            "first": {"from": 1632663960, "to": 1632664020, "total": 2},
            "last": {"from": 1632664020, "to": 1632664080, "total": 1},
            "series": {**_GRID, "counts": [2, 1]},
            "as_of": 1632664031.25,
        }
    )

    name: str
    count: int
    at_most: int | None = Field(None, description="With several shards, and with a filter, as in the list of all")
    share: float
    rank: int | None = Field(description="Its place among all, from 1")
    first: TimeRange | None = Field(description="The first window kept in which it was counted")
    last: TimeRange | None = Field(description="The last one")
    series: OneSeries
    since: Since = None
    elsewhere: Elsewhere = None
    as_of: AsOf
    missing_shards: MissingShards = None


class RiseItem(BaseModel):
    name: str
    count: int = Field(description="In `present`")
    baseline: int = Field(description="In `baseline`")
    expected: float = Field(description="What the baseline's share would give in `present`")
    ratio: float | None = Field(description="`count` by `expected`; null if it never was before")
    score: float = Field(description="Log-likelihood ratio G² (Dunning 1993)")


class TrendingAnswer(BaseModel):
    model_config = example(
        {
            "items": [{"name": "foo", "count": 30, "baseline": 12, "expected": 3.0, "ratio": 10.0, "score": 51.667}],
            "present": {"from": 1632663120, "to": 1632664080, "total": 1000},
            "baseline": {"from": 1632659280, "to": 1632663120, "total": 4000},
            "as_of": 1632664031.25,
        }
    )

    items: list[RiseItem]
    present: TimeRange
    baseline: TimeRange = Field(description="Ends where `present` begins; with a total of 0 there is no past yet")
    since: Since = None
    as_of: AsOf
    missing_shards: MissingShards = None
