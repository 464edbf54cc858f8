"""Answers as JSON, CSV or NDJSON."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from fastapi import Depends, Request, Response

from api.file_names import attachment
from api.params import Format
from tally.web import problems
from tally.web.problem_types import NOT_ACCEPTABLE, REDIS_REFUSES, REDIS_UNAVAILABLE, TOO_MUCH_ASKED, ProblemError

MEDIA_TYPES: dict[Format, str] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
}

#: The header that says which shards are not in an answer, in whatever form that is. Other answers do not have it.
MISSING_SHARDS = "Tally-Missing-Shards"

#: What an Accept header may call each; of those that it prefers alike the first is given.
_ACCEPTABLE: dict[Format, tuple[str, ...]] = {
    "json": ("application/json",),
    "csv": ("text/csv",),
    "ndjson": ("application/x-ndjson", "application/ndjson", "application/jsonl"),
}

#: OpenAPI of what is answered to a client that has the answer already; see answer_cache.AnswerCache.
UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The answer is the one whose ETag was sent in If-None-Match"}
}

#: OpenAPI of what any answer with counts may be instead.
UNAVAILABLE = problems.described(
    "Redis is unavailable, or more is asked for at once than there is memory or time for (TALLY_MAX_SNAPSHOT_BYTES); "
    "Retry-After says when to ask again",
    TOO_MUCH_ASKED,
    REDIS_UNAVAILABLE,
    REDIS_REFUSES,
    detail="other long answers are being made; ask again",
)

#: What spreadsheets take for the beginning of a formula, the full-width forms too, or leave out in front of one.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n", "\0")


def respond(
    request: Request,
    format_: Format | None,
    answer: Mapping[str, Any],
    *,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    name: str,
    missing_shards: Sequence[int] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer as JSON; or its rows alone, as CSV below a line with the columns, or as NDJSON.

    Every row has the same columns, and their names are ours: names from events could be anything, and come twice.
    `name` is that of a file for the rows, without its ending. Raises ProblemError if none of the three is acceptable.
    """
    chosen = chosen_format(request, format_)
    if chosen == "json":
        return as_json(answer, missing_shards=missing_shards, headers=headers)
    body = encoded_rows(chosen, columns, rows)
    return Response(
        body,
        media_type=MEDIA_TYPES[chosen],
        headers={**table_headers(chosen, name=name, missing_shards=missing_shards), **(headers or {})},
    )


def encoded_rows(
    format_: Format, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, heading: bool = True
) -> bytes:
    """Return rows as CSV, below a line with the columns if they are the first ones, or as NDJSON."""
    return _ndjson(rows) if format_ == "ndjson" else _csv(columns, rows, heading=heading)


def table_headers(format_: Format, *, name: str, missing_shards: Sequence[int] = ()) -> dict[str, str]:
    """Return the headers of a table, but for its media type."""
    return _headers(missing_shards) | attachment(name, format_)


def described_tables(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the `content` of a list as CSV and NDJSON in the OpenAPI document, with these rows for an example."""
    bodies = {"text/csv": _csv(columns, rows), "application/x-ndjson": _ndjson(rows)}
    return {name: {"schema": {"type": "string"}, "example": body.decode()} for name, body in bodies.items()}


def as_json(
    answer: Mapping[str, Any], *, missing_shards: Sequence[int] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """Return an answer as JSON; `JSON_ONLY` is for routes whose answers are no lists, and so come as that alone."""
    if missing_shards:
        answer = {**answer, "missing_shards": missing_shards}
    return Response(
        msgspec.json.encode(answer),
        media_type=MEDIA_TYPES["json"],
        headers={**_headers(missing_shards), **(headers or {})},
    )


def _headers(missing_shards: Sequence[int]) -> dict[str, str]:
    missing = {MISSING_SHARDS: ", ".join(map(str, missing_shards))} if missing_shards else {}
    return {"Vary": "Accept", **missing}


def accepts(media_type: str) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency of routes that answer in one form: it raises ProblemError if Accept does not allow that."""

    async def check(request: Request) -> None:
        qualities = _qualities(request)
        if qualities and not _quality(media_type, qualities):
            raise _not_acceptable([media_type])

    return check


#: A dependency of routes that answer as JSON alone.
JSON_ONLY = Depends(accepts("application/json"))


def chosen_format(request: Request, format_: Format | None) -> Format:
    """Return the format that was asked for, else that which the header Accept (RFC 9110, 12.5.1) prefers, else JSON.

    Raises ProblemError if Accept allows none of them.
    """
    if format_ is not None:
        return format_
    qualities = _qualities(request)
    if not qualities:
        return "json"

    def quality(format_: Format) -> float:
        return max(_quality(media_type, qualities) for media_type in _ACCEPTABLE[format_])

    best = max(_ACCEPTABLE, key=quality)
    if not quality(best):
        raise _not_acceptable([names[0] for names in _ACCEPTABLE.values()])
    return best


def _not_acceptable(media_types: Sequence[str]) -> ProblemError:
    return ProblemError(NOT_ACCEPTABLE, f"the answer comes as {', '.join(media_types)}", media_types=list(media_types))


def _qualities(request: Request) -> dict[str, float]:
    """Return the quality of each media range of Accept; none if there is no header, or none that can be read."""
    return dict(_media_ranges(",".join(request.headers.getlist("accept"))))


def _quality(media_type: str, qualities: Mapping[str, float]) -> float:
    """That of the most specific range which the media type is in."""
    for each in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if each in qualities:
            return qualities[each]
    return 0.0


def _media_ranges(accept: str) -> Iterator[tuple[str, float]]:
    """Return each media range with its quality. One whose quality cannot be read says nothing."""
    for element in accept.lower().split(","):
        media_range, *parameters = (part.strip() for part in element.split(";"))
        if not media_range:
            continue
        given = [each.removeprefix("q=") for each in parameters if each.startswith("q=")]
        if not given:
            yield media_range, 1.0
        elif re.fullmatch(r"[01](\.\d{0,3})?", given[0], re.ASCII):
            yield media_range, min(1.0, float(given[0]))


def _ndjson(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, heading: bool = True) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    if heading:
        writer.writerow(columns)
    writer.writerows([_harmless(row[column]) for column in columns] for row in rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def _harmless(value: Any) -> Any:
    """Quote text that begins like a formula, as OWASP advises for CSV: names come from anywhere."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
