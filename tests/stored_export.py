"""An export as this version writes it, stored in tests/formats for all later ones to be tried with.

    python -m tests.stored_export       make it, and beside it what it has to answer, found by an independent count

It has everything in it that there is: it is an export of three shards into which one of a single shard was imported.
When the format of exports is raised, keep the one before, and make one more.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tally.export_files import new_file
from tally.exports import FORMAT, Encoder
from tally.store import connect
from tests.everything import DAY, Everything
from tests.exported import Export
from tests.oracle import Expected, event_on
from tests.server import Server

FORMATS = Path(__file__).parent / "formats"

#: What was exported was counted with these.
SETTINGS: dict[str, Any] = {"words_by_type": "50", "accepted_samples": 1000, "stripe_bytes": 4096}

#: A file of which three lanes are stored.
STRIPED = "file:/var/log/b#4-0123456789abcdef"

#: Idempotency keys of it, all for the same body; and when they are forgotten, in Unix milliseconds: in the year 2096.
BODIES = ("first", "second", "third", "fourth", "fifth")
FORGOTTEN_MS = 4_000_000_000_000


def export_of(number: int) -> Path:
    """Return the export of this format."""
    return FORMATS / f"export-{number}.ndjson.zst"


def answers_of(number: int) -> Any:
    """Return what that export has to answer."""
    return json.loads(_answers(number).read_text(encoding="utf-8"))


def _answers(number: int) -> Path:
    return FORMATS / f"export-{number}.json"


async def _make(server: Server) -> None:
    async with connect(server.url, timeout_seconds=30) as redis:
        one = Everything(redis, seed=15, namespace="one", **SETTINGS)
        await one.fill(rounds=15)
        three = Everything(redis, seed=16, now=one.now, namespace="three", shards=3, **SETTINGS)
        await Export(await one.exported()).into(three)
        for _ in range(5):
            three.now += 1800
            await three.spread(three.some_lines(), three.chance)
        for shard in range(3):
            await three.append(STRIPED, shard)
        await three.send(BODIES[-1])
        for each in three.shards:
            for key in (each.keys.once_new, each.keys.once_old):
                await each.redis.pexpireat(key, FORGOTTEN_MS)
        exported = await three.exported()
    encoder = Encoder()
    with new_file(export_of(FORMAT), force=True) as packed:
        packed.finish(b"".join((*map(encoder.line, exported), encoder.end())))
    answers = _answers_to([*one.lines, *three.lines])
    _answers(FORMAT).write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _answers_to(lines: list[tuple[bytes, float]]) -> dict[str, Any]:
    expected = Expected.of(line for line, _ in lines)
    days: dict[int, Counter[str]] = {}
    for line, arrived_at in lines:
        event, _ = event_on(line)
        if event is not None:
            at = event.get("timestamp", arrived_at)
            days.setdefault(int(at // DAY * DAY), Counter())[event["event_type"]] += 1
    return {
        "types": expected.types,
        "words": expected.words,
        "by_type": expected.by_type,
        "rejected": expected.rejected,
        "days": days,
    }


def main() -> None:
    """Make them."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.start()
        try:
            asyncio.run(_make(server))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
