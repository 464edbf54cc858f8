"""What one would write instead, as programs of their own: `python -m bench.rivals produce|consume|sum|duckdb …`.

`produce` and `consume` are the obvious pipeline through a Redis stream: one event an entry, appended through redis-py
pipelines; a consumer group whose reader parses each event and increments its counts in a pipeline. `sum` is a
kinder reader: it adds up what each read gave it and increments every name once. Both acknowledge with the counts
but in no way tie the two together, so that a crash between them counts twice or never; that is part of their speed.

`duckdb` reads the file itself: no stream, no server, nothing counted before the end.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import redis

from tally.words import DEFAULT_WORD_PATTERN, compile_word_pattern, normalized

#: The keys of the obvious pipeline.
STREAM, TYPES, WORDS, TOTALS, GROUP = "rival:stream", "rival:types", "rival:words", "rival:totals", "rivals"

#: Entries in one pipeline of XADDs, and in one read; the best of a few that were tried.
BATCH = 1000

_WORD = compile_word_pattern(DEFAULT_WORD_PATTERN)

#: The default word pattern, as DuckDB's regular expressions have it.
DUCKDB_WORD = r"[\p{L}\p{N}_][\p{L}\p{N}_\p{Mn}\p{Mc}]*(?:['’\x{200c}\x{200d}-][\p{L}\p{N}_\p{Mn}\p{Mc}]+)*"

# A literal, and no parameter, or DuckDB would compile it for each text.
_WORD_LITERAL = "'{}'".format(DUCKDB_WORD.replace("'", "''"))

#: How DuckDB counts words. Both find the same: no word goes over a space, and NFC changes nothing there.
_DUCKDB_QUERIES = {
    "texts": f"""
        SELECT unnest(regexp_extract_all(nfc_normalize(data), {_WORD_LITERAL})) AS word, count(*)
        FROM events GROUP BY 1""",
    "pieces": f"""
        WITH pieces AS (SELECT unnest(string_split(data, ' ')) AS piece, count(*) AS times FROM events GROUP BY 1),
        found AS (SELECT unnest(regexp_extract_all(nfc_normalize(piece), {_WORD_LITERAL})) AS word, times FROM pieces)
        SELECT word, sum(times)::BIGINT FROM found GROUP BY 1""",
}


def produce(client: redis.Redis, path: str) -> None:
    """Append every line of the file as an entry."""
    with Path(path).open("rb") as file:
        print(json.dumps({"began": time.time()}), flush=True)
        while batch := list(itertools.islice(file, BATCH)):
            pipeline = client.pipeline(transaction=False)
            for line in batch:
                pipeline.xadd(STREAM, {"line": line})
            pipeline.execute()


def consume(client: redis.Redis, *, add_up: bool) -> None:
    """Count entries until killed."""
    client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    while True:
        reply: Any = client.xreadgroup(GROUP, "one", {STREAM: ">"}, count=BATCH, block=1000)
        if reply:
            entries = reply[0][1]
            pipeline = client.pipeline(transaction=False)
            if add_up:
                _count_added_up(pipeline, entries)
            else:
                _count_each(pipeline, entries)
            pipeline.execute()


def _count_each(pipeline: Any, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
    rejected = 0
    for entry_id, fields in entries:
        event = _event_on(fields[b"line"])
        if event is None:
            rejected += 1
        else:
            pipeline.hincrby(TYPES, event[0], 1)
            for word in _WORD.findall(normalized(event[1])):
                pipeline.hincrby(WORDS, word, 1)
        pipeline.xack(STREAM, GROUP, entry_id)
    pipeline.hincrby(TOTALS, "rejected", rejected)
    pipeline.hincrby(TOTALS, "lines", len(entries))


def _count_added_up(pipeline: Any, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
    types: Counter[str] = Counter()
    words: Counter[str] = Counter()
    rejected = 0
    for _, fields in entries:
        event = _event_on(fields[b"line"])
        if event is None:
            rejected += 1
        else:
            types[event[0]] += 1
            words.update(_WORD.findall(normalized(event[1])))
    for key, counts in ((TYPES, types), (WORDS, words)):
        for name, count in counts.items():
            pipeline.hincrby(key, name, count)
    pipeline.xack(STREAM, GROUP, *(entry_id for entry_id, _ in entries))
    pipeline.hincrby(TOTALS, "rejected", rejected)
    pipeline.hincrby(TOTALS, "lines", len(entries))


def read_with_duckdb(path: str, pattern_over: str, *, strict: bool) -> None:
    """Count the file and print what was found, how long it took and how much memory.

    The word pattern runs over each of the `texts`, or over the distinct `pieces` between their spaces. With `strict`
    the values' types are looked at, without which DuckDB takes a number or a list for a text.
    """
    import duckdb

    began, cpu_began = time.time(), sum(os.times()[:2])
    database = duckdb.connect()
    if strict:
        columns, text = "{'event_type': 'JSON', 'data': 'JSON'}", "->>'$'"
        where = "WHERE json_type(event_type) = 'VARCHAR' AND json_type(data) = 'VARCHAR'"
    else:
        columns, text, where = "{'event_type': 'VARCHAR', 'data': 'VARCHAR'}", "", ""
    database.execute(
        f"CREATE TEMP TABLE events AS SELECT event_type{text} AS event_type, data{text} AS data "
        f"FROM read_ndjson(?, columns = {columns}, ignore_errors = true) {where}",
        [path],
    )
    types = database.execute("SELECT event_type, count(*) FROM events GROUP BY 1").fetchall()
    words = database.execute(_DUCKDB_QUERIES[pattern_over]).fetchall()
    ended = time.time()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    figures = {
        "began": began,
        "ended": ended,
        "peak_bytes": int(status.partition("VmHWM:")[2].split()[0]) * 1024,
        "cpu_seconds": sum(os.times()[:2]) - cpu_began,
        "types": dict(types),
        "words": dict(words),
    }
    print(json.dumps(figures), flush=True)


def main(arguments: list[str]) -> None:
    """Be one of the programs."""
    match arguments:
        case ["produce", path]:
            produce(_connect(), path)
        case ["consume"]:
            consume(_connect(), add_up=False)
        case ["sum"]:
            consume(_connect(), add_up=True)
        case ["duckdb", path, pattern_over, *rest]:
            read_with_duckdb(path, pattern_over, strict="strict" in rest)
        case _:
            raise SystemExit(f"unknown arguments: {arguments}")


def _event_on(line: bytes) -> tuple[str, str] | None:
    try:
        event = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict):
        return None
    type_, data = event.get("event_type"), event.get("data")
    return (type_, data) if isinstance(type_, str) and isinstance(data, str) else None


def _connect() -> redis.Redis:
    return redis.Redis.from_url(os.environ["TALLY_REDIS_URL"])


if __name__ == "__main__":
    main(sys.argv[1:])
