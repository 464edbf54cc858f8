"""The shapes of the answers about the pipeline. Moments, whose names end with `_at`, are Unix seconds."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from api.models import AsOf, example
from tally.rejections import REASONS, UNKNOWN


class HeldAnswer(BaseModel):
    by: str = Field(description="The command of `tally`")
    host: str = Field(description="Where it runs")
    since: float = Field(description="Unix seconds")
    until: float = Field(description="When it ends by itself, in Unix seconds; it is renewed until the command ends")


class BacklogAnswer(BaseModel):
    blocks: int = Field(description="In the stream, or settled")
    settled_blocks: int = Field(description="Those of them that are decoded; their counts are about to be applied")
    bytes: int = Field(description="Of the lines that sources have appended")
    lines: int = Field(description="About; Redis does not count them")
    oldest_seconds: float | None = Field(description="How long the oldest has waited")
    full: bool = Field(description="Whether it is as large as may be, and sources are not read")
    bulk_full: bool = Field(description="Whether files are not read for now, so that there is room for live sources")
    held: HeldAnswer | None = Field(
        description="Which command reads or changes all that is stored, so that sources are not read; null: none does"
    )
    appended_at: float | None = Field(
        description="When the newest block was appended, whether or not it still waits; null: there never was one"
    )


class IdempotencyKeysAnswer(BaseModel):
    known: int = Field(description="How many")
    since_at: float | None = Field(description="Since when each that was sent is known; null: none is")


class AggregatorAnswer(BaseModel):
    name: str
    pending: int = Field(description="Blocks that it holds")
    idle_seconds: float
    alive: bool


class SourceAnswer(BaseModel):
    name: str
    position: int = Field(description="Bytes appended; with several shards, up to where it was read for them")
    appended_at: float | None = Field(description="When it was last appended to, or opened; null: not known")


class ShardAnswer(BaseModel):
    shard: int = Field(description="Its place among all, from 0")
    blocks: int = Field(description="Of its backlog")
    bytes: int
    oldest_seconds: float | None
    aggregators_alive: int = Field(description="Those that serve it; with 0 and a backlog nothing of it is counted")
    dead_letters: int
    distinct_types: int
    distinct_words: int


class KeptAnswer(BaseModel):
    start: int = Field(alias="from", description="Where the first window that is kept begins")
    end: int = Field(alias="to", description="Where the last one ends, exclusive")


class WordsByTypeAnswer(BaseModel):
    types: int = Field(description="How many types have words of their own, in any shard")
    most: int | None = Field(description="How many may; null where their names are too many to be stored")
    names: list[str] | None = Field(description="Which may; null where they are the first that come")


class TotalsAnswer(BaseModel):
    events: int
    words: int
    rejected: int
    padded: int = Field(
        description="Lines, whether or not rejected, in front of which NULs or byte order marks were passed over"
    )
    lost: int = Field(
        description="Blocks that somebody deleted before they were counted, from the stream or as dead letters"
    )
    lines: int
    bytes: int
    blocks: int


#: How many lines were rejected for each reason.
ByReason = Annotated[
    dict[str, int],
    Field(
        description="Rejected lines by reason: `too_long`, `not_utf8`, `too_deep`, `not_json`, `not_an_event`, "
        "`no_lines` (an entry of the stream without any), `unknown` (counted by a version that told none)"
    ),
]

#: An example of it.
by_reason_example = {**dict.fromkeys((*REASONS, UNKNOWN), 0), "not_json": 8, "not_an_event": 2}


class StatusAnswer(BaseModel):
    model_config = example(
        {
            "namespace": "tally",
            "totals": {
                "events": 90,
                "words": 180,
                "rejected": 10,
                "padded": 1,
                "lost": 0,
                "lines": 100,
                "bytes": 7200,
                "blocks": 3,
            },
            "rejected_by_reason": by_reason_example,
            "events_per_second": {"1": 99.0, "10": 100.2, "60": None},
            "backlog": {
                "blocks": 2,
                "settled_blocks": 1,
                "bytes": 3600,
                "lines": 50,
                "oldest_seconds": 0.04,
                "full": False,
                "bulk_full": False,
                "held": {"by": "export", "host": "backup-1", "since": 1632664030.5, "until": 1632664060.5},
                "appended_at": 1632664031.2,
            },
            "idempotency_keys": {"known": 2, "since_at": 1632577631.2},
            "dead_letters": 0,
            "distinct_types": 6,
            "distinct_words": 19,
            "other_types": 0,
            "other_words": 0,
            "aggregators": [{"name": "host-1-4f2a90", "pending": 1, "idle_seconds": 0.02, "alive": True}],
            "aggregators_alive": 1,
            "sources": [{"name": "/data/events.ndjson", "position": 7200, "appended_at": 1632664031.2}],
            "sources_total": 1,
            "kept": {"from": 1632654000, "to": 1632664080},
            "words_by_type": {"types": 1, "most": 2, "names": ["error", "login"]},
            "unfinished_import": "6f1c0f3a9d8e4b57a2c4d6e8f0123456",
            "as_of": 1632664031.25,
        }
    )

    namespace: str = Field(description="Whose counts they are: the first part of every key in Redis (TALLY_NAMESPACE)")
    totals: TotalsAnswer
    rejected_by_reason: ByReason
    events_per_second: dict[str, float | None] = Field(
        description="Over the last 1, 10 and 60 s; null until known",
        examples=[{"1": 99.0, "10": 100.2, "60": None}],
    )
    backlog: BacklogAnswer
    idempotency_keys: IdempotencyKeysAnswer
    dead_letters: int = Field(
        description="Blocks that ended every aggregator that tried them, and chunks of counts that cannot be read"
    )
    distinct_types: int
    distinct_words: int
    other_types: int = Field(description="Events under `__other__`: of types that a bound had no place for")
    other_words: int = Field(description="Words under `__other__`, likewise")
    aggregators: list[AggregatorAnswer]
    aggregators_alive: int
    sources: list[SourceAnswer] = Field(description="The hundred last appended to or opened, the latest first")
    sources_total: int = Field(description="How many sources are known")
    kept: KeptAnswer | None = Field(description="The events that time ranges can have; null if there are none")
    words_by_type: WordsByTypeAnswer | None = Field(
        description="Of which types words are counted apart (TALLY_WORDS_BY_TYPE); null where that is off"
    )
    unfinished_import: str | None = Field(
        description="The ID of an export whose import has begun and not ended, so that a part of it may be counted"
    )
    distinct_types_at_most: int | None = Field(None, description="With several shards, see the list of types")
    distinct_words_at_most: int | None = Field(None, description="Likewise")
    shards: list[ShardAnswer] | None = Field(None, description="Each, where there are several")
    as_of: AsOf


class SourceItem(BaseModel):
    name: str = Field(description="What it is called: a file by its path, connections by the address they came to")
    lines: int = Field(description="Lines that were counted, rejected ones among them")
    rejected: int
    rejected_share: float = Field(description="Which part of the lines was rejected, from 0 to 1")
    lines_per_second: float | None = Field(
        description="Over the last half minute; null until it was asked for some seconds ago"
    )
    newest_at: float | None = Field(description="When the newest line that is counted had been appended")
    seen_at: float | None = Field(
        description="When anything of it was appended last, or it was last renewed because it is open; of sources that "
        "are not among the thousand latest, `newest_at`"
    )
    lag_seconds: float | None = Field(
        description="For how long lines of it have waited to be counted, at the most; 0 if none does. What its "
        "ingestor has not read yet is not in it. Null if it is not known, of sources that are not among the thousand "
        "latest"
    )


#: A source, as an example.
SOURCE_ROW = {
    "name": "tail:/var/log/shop.ndjson",
    "lines": 120000,
    "rejected": 60,
    "rejected_share": 0.0005,
    "lines_per_second": 42.5,
    "newest_at": 1632664031.2,
    "seen_at": 1632664031.2,
    "lag_seconds": 0.0,
}


class SourcesAnswer(BaseModel):
    model_config = example(
        {
            "items": [SOURCE_ROW],
            "distinct": 1,
            "matched": 1,
            "lines": 120500,
            "rejected": 160,
            "other": {
                "name": "__other__",
                "lines": 500,
                "rejected": 100,
                "rejected_share": 0.2,
                "lines_per_second": 0.5,
                "newest_at": 1632664030.7,
                "seen_at": 1632664030.7,
                "lag_seconds": 0.0,
            },
            "as_of": 1632664031.25,
        }
    )

    items: list[SourceItem]
    distinct: int = Field(description="How many sources are counted by name")
    matched: int = Field(description="How many of them pass the filters")
    lines: int = Field(description="Lines of all of them, `other` included")
    rejected: int = Field(description="Those that were rejected")
    other: SourceItem | None = Field(
        None, description="What there was no room for by name, as `__other__`; null if nothing"
    )
    as_of: AsOf


class AcceptedItem(BaseModel):
    id: str
    accepted_at: float
    line: str = Field(description="The first KiB of it, as it came")
    source: str


#: An accepted line, as an example.
ACCEPTED_ROW = {
    "id": "1632664031200-0",
    "accepted_at": 1632664031.2,
    "line": '{"event_type": "login", "data": "hello world"}',
    "source": "tcp://0.0.0.0:9000#0123456789ab",
}


class AcceptedAnswer(BaseModel):
    model_config = example(
        {
            "items": [ACCEPTED_ROW],
            "total": 90,
            "as_of": 1632664031.25,
        }
    )

    items: list[AcceptedItem]
    total: int = Field(description="All events; only some of the newest are kept as samples, if any")
    as_of: AsOf
