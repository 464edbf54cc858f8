"""Rejected lines: how many of all time for which reason, and the samples of them that are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from fastapi import Request, Response
from pydantic import BaseModel, Field

from api.cached_counts import CachedCounts
from api.file_names import file_name
from api.formats import respond
from api.models import AsOf, example
from api.param_reading import Optional
from api.params import AnyFormat, TimeRangeParams
from api.status_models import ByReason, by_reason_example
from tally.rejections import REASONS, UNKNOWN, Reason, reason_of_sentence
from tally.store.samples import RejectedSample

#: What a row has.
COLUMNS = ("id", "rejected_at", "line", "reason", "class", "source")

#: How many samples are looked at, the newest, where some are chosen.
MOST_LOOKED_AT = 10_000

#: What a sample takes at the most while it is looked at: a KiB as it is read, as text, and in the answer.
SAMPLE_BYTES = 4 << 10


class RejectedParams(TimeRangeParams):
    """What /v1/rejected takes. A time range is that in which lines were rejected, to the moment."""

    limit: int = Field(20, ge=1, le=1000, description="Samples at the most", examples=[5])
    reason: Optional[Reason | Literal["unknown"]] = Field(
        None, description="Only samples of lines that were rejected for this, see `by_reason`", examples=["not_json"]
    )
    before: Optional[str] = Field(
        None,
        max_length=64,
        pattern=r"^([0-9]{1,5}/)?[0-9]{1,20}-[0-9]{1,20}$",
        description="Only samples that are older than the one with this `id`: the last one of a page leads to the next",
        examples=["1632664031200-0"],
    )
    group: Optional[Literal["reason"]] = Field(
        None, description="Add `kept`: how many samples there are of each reason in the time range", examples=["reason"]
    )
    format: AnyFormat = None

    @property
    def chooses(self) -> bool:
        """Return whether the newest samples are not simply those that are asked for."""
        return any(each is not None for each in (self.window, self.start, self.reason, self.before, self.group))

    def moments(self, *, now: float) -> tuple[float | None, float | None]:
        """Return [from, to) in Unix seconds; None: no bound."""
        if self.window is not None:
            return now - self.window, None
        return tuple(each and each.at(now) for each in (self.start, self.end))  # type: ignore[return-value]

    def contradictions(self, *, now: float) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with the bounds: `to` needs no `from` here."""
        if self.start is not None or self.window is not None:
            yield from super().contradictions(now=now)


class RejectedItem(BaseModel):
    id: str
    rejected_at: float
    line: str
    reason: str = Field(description="A sentence, which may hold a part of the line")
    class_: str = Field(alias="class", description="The reason as `by_reason` has it")
    source: str


class KeptSamples(BaseModel):
    """The samples that are kept of a time range, which are not all lines that were rejected in it."""

    start: float | None = Field(None, alias="from", description="As was asked for; null: since ever")
    end: float | None = Field(None, alias="to", description="Exclusive; null: until now")
    total: int = Field(description="How many")
    by_reason: dict[str, int] = Field(description="How many of each reason, whatever `reason` asks for")
    oldest_at: float | None = Field(
        description="When the oldest sample of all was rejected, that was looked at; null: none is kept"
    )


class RejectedAnswer(BaseModel):
    model_config = example(
        {
            "items": [
                {
                    "id": "1632664031200-0",
                    "rejected_at": 1632664031.2,
                    "line": '{"event_type": 7}',
                    "reason": "not an event: Expected `str`, got `int` - at `$.event_type`",
                    "class": "not_an_event",
                    "source": "/data/events.ndjson",
                }
            ],
            "total": 10,
            "by_reason": by_reason_example,
            "kept": {
                "from": 1632660431.25,
                "to": 1632664031.25,
                "total": 1,
                "by_reason": {**dict.fromkeys((*REASONS, UNKNOWN), 0), "not_an_event": 1},
                "oldest_at": 1632664031.2,
            },
            "as_of": 1632664031.25,
        }
    )

    items: list[RejectedItem] = Field(description="Samples, the newest first")
    total: int = Field(description="All lines that were ever rejected, exactly; few are kept as samples")
    by_reason: ByReason
    kept: KeptSamples | None = Field(None, description="With group=reason")
    as_of: AsOf


async def list_samples(counts: CachedCounts, request: Request, params: RejectedParams) -> Response:
    """Return the samples that are asked for. Raises StoreUnavailable, and NoRoom for what has to be looked at."""
    now = counts.clock.time()
    _, end = params.moments(now=now)
    most = MOST_LOOKED_AT if params.chooses or end is not None else params.limit
    most = min(most, await counts.reader.rejected_kept())
    with counts.memory.claim() as claim:
        claim.grow_to(most * SAMPLE_BYTES)
        return await _answer(counts, request, params, await counts.reader.rejected(most), now=now)


async def _answer(
    counts: CachedCounts, request: Request, params: RejectedParams, everything: Sequence[RejectedSample], *, now: float
) -> Response:
    start, end = params.moments(now=now)
    there = [
        each
        for each in everything
        if (start is None or start <= each.rejected_at) and (end is None or each.rejected_at < end)
    ]
    items = [
        _item(each)
        for each in _older(there, everything, params.before)
        if params.reason is None or reason_of_sentence(each.reason) == params.reason
    ][: params.limit]
    by_reason = await counts.reader.rejected_by_reason()
    answer: dict[str, Any] = {"items": items, "total": sum(by_reason.values()), "by_reason": by_reason}
    if params.group is not None:
        classes = Counter(reason_of_sentence(each.reason) for each in there)
        answer["kept"] = {
            "from": start,
            "to": end,
            "total": len(there),
            "by_reason": {reason: classes[reason] for reason in (*REASONS, UNKNOWN)},
            "oldest_at": everything[-1].rejected_at if everything else None,
        }
    answer["as_of"] = now
    return respond(
        request,
        params.format,
        answer,
        columns=COLUMNS,
        rows=items,
        name=file_name("rejected", start=start, end=now if end is None else end, as_of=now),
    )


def _older(
    there: Sequence[RejectedSample], everything: Sequence[RejectedSample], before: str | None
) -> Sequence[RejectedSample]:
    """Return those behind the sample with this ID. If it is no longer kept, nothing older is."""
    if before is None:
        return there
    for at, each in enumerate(everything):
        if each.id == before:
            behind = {sample.id for sample in everything[at + 1 :]}
            return [sample for sample in there if sample.id in behind]
    return ()


def _item(sample: RejectedSample) -> dict[str, Any]:
    return {
        "id": sample.id,
        "rejected_at": sample.rejected_at,
        "line": sample.line,
        "reason": sample.reason,
        "class": reason_of_sentence(sample.reason),
        "source": sample.source,
    }
