"""Why lines are rejected, in a few classes that are counted each: fields of the hash of totals.

The sample of a line has its reason as a sentence, which may hold a part of the line; a class never does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

#: `too_long`: over TALLY_MAX_LINE_BYTES; `not_utf8`; `too_deep`: nested deeper than any event is; `not_json`;
#: `not_an_event`: JSON that lacks what an event has, or has it of another type; `no_lines`: an entry of the stream that
#: somebody else appended, without the field of lines.
Reason = Literal["too_long", "not_utf8", "too_deep", "not_json", "not_an_event", "no_lines"]

#: All of them.
REASONS: tuple[Reason, ...] = get_args(Reason)

#: What is left of all rejected lines: those that an older version counted, without a reason.
UNKNOWN = "unknown"

#: How the sentence of each reason begins.
SENTENCES: dict[Reason, str] = {
    "too_long": "longer than",
    "not_utf8": "not UTF-8",
    "too_deep": "nested too deeply",
    "not_json": "not JSON",
    "not_an_event": "not an event",
    "no_lines": "the entry has no field 'lines'",
}

#: The names of the fields of all reasons begin so.
_PREFIX = "rejected:"

#: The fields of the hash of totals, in the order of REASONS.
REASON_FIELDS: tuple[str, ...] = tuple(_PREFIX + reason for reason in REASONS)


def reason_totals(reasons: Mapping[Reason, int]) -> dict[str, int]:
    """Return what these add to the totals, by field."""
    return {_PREFIX + reason: number for reason, number in reasons.items()}


def rejected_by_reason(totals: Mapping[str, int]) -> dict[str, int]:
    """Return how many lines were rejected for each reason, of totals with REASON_FIELDS. They add up to `rejected`."""
    known: dict[str, int] = {reason: totals[field] for reason, field in zip(REASONS, REASON_FIELDS, strict=True)}
    return {**known, UNKNOWN: max(0, totals["rejected"] - sum(known.values()))}


def reason_of_sentence(sentence: str) -> str:
    """Return the reason that a sample's sentence tells, UNKNOWN for one that another version wrote otherwise."""
    return next((reason for reason, begin in SENTENCES.items() if sentence.startswith(begin)), UNKNOWN)
