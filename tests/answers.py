"""What an api is asked, and what two of its answers have in common if the same was counted."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import httpx


def questions(now: int) -> list[str]:
    """Return paths that ask about types `a` to `g` and words `w0` to `w59` of the last days before `now`."""
    start = now - 3 * 86_400
    whens = ["", "window=15m&", "window=3h&", f"from={start}&to={now}&", f"from={start + 7}&", "window=30d&"]
    paths = ["/events/CountByEventType", "/events/countWords", "/events/CountWords?limit=7", "/v1/words/w3?window=2d"]
    paths += [
        "/v1/types:trending?window=1h",
        "/v1/words:trending?window=1d",
        "/v1/words/never",
        "/v1/types:lookup?name=a",
    ]
    paths += ["/v1/types:series?window=2h&step=5m", "/v1/words:series?name=w1&name=w2&window=7d&step=1h"]
    paths += [f"/v1/types:series?name=a&name=b&from={start}&to={now}", "/v1/types:series?window=30d&step=7s"]
    for when in whens:
        for kind in ("types", "words"):
            for query in (
                *("limit=1000", "limit=5&offset=3", "order=name&limit=5", "order=count&offset=2&limit=9"),
                *(
                    "q=3",
                    "prefix=W1&order=-name",
                    "regex=%5Ew1.%24&exclude=w11",
                    "exclude=w3&exclude=a&exclude=no&limit=9",
                ),
                *("format=csv&limit=500", "format=ndjson&limit=20&offset=10"),
                *(
                    ("compare=previous&limit=50", "compare=previous&order=-change", "compare=previous&format=csv")
                    * bool(when)
                ),
            ):
                paths.append(f"/v1/{kind}?{when}{query}")
    return paths


def without_moments(answer: httpx.Response) -> Any:
    """An answer without what tells when and where it was made, and without what only several shards have."""
    if not answer.headers["content-type"].startswith("application/json"):
        if answer.headers["content-type"].startswith("text/csv"):
            rows = list(csv.reader(io.StringIO(answer.text, newline="")))
            return [row[:-1] for row in rows] if rows and rows[0][-1] == "at_most" else rows
        lines = map(json.loads, answer.text.splitlines())
        return [{name: value for name, value in line.items() if name != "at_most"} for line in lines]

    def cleaned(value: Any) -> Any:
        if isinstance(value, list):
            return [cleaned(each) for each in value]
        if isinstance(value, dict):
            for name in ("as_of", "next", "at_most", "distinct_at_most", "shards", "rejected_at", "id"):
                value.pop(name, None)
            return {name: cleaned(each) for name, each in value.items()}
        return value

    return answer.status_code, cleaned(answer.json())
