"""Answers as JSON, CSV or NDJSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import Request, Response

from api.params import Format

_MEDIA_TYPES = {"json": "application/json", "csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}

#: What spreadsheets take for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def respond(
    request: Request, format_: Format | None, answer: Mapping[str, Any], *, rows: Sequence[Mapping[str, Any]]
) -> Response:
    """The answer as JSON; or its rows alone, as CSV with a line of names, or as NDJSON."""
    chosen = format_ or _accepted(request.headers.get("accept", ""))
    if chosen == "csv":
        body = _csv(rows)
    elif chosen == "ndjson":
        body = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    else:
        body = msgspec.json.encode(answer)
    return Response(body, media_type=_MEDIA_TYPES[chosen], headers={"Vary": "Accept"})


def _accepted(accept: str) -> Format:
    if "text/csv" in accept:
        return "csv"
    if "application/x-ndjson" in accept or "application/jsonl" in accept:
        return "ndjson"
    return "json"


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def _harmless(value: Any) -> Any:
    """Names come from anywhere: one that begins like a formula is quoted, as OWASP advises for CSV."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
