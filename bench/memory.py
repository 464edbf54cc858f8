"""How much memory things take in the server: `python -m bench.memory [--write]`.

What `tally size` reckons with. Names of several lengths in hashes of several sizes; blocks, files, keys, samples and
windows, put there by Tally's own scripts; and a whole pipeline, whose server is compared with what `tally size` says of
as many names.

BENCH_SERVER names another server, as in `BENCH_SERVER=redis-server python -m bench.memory`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from statistics import mean
from typing import Any

from bench.contenders import server_version
from bench.processes import BenchError, fresh_bench, temporary_folder, tidy_when_terminated, wait_until
from bench.report import machine, table, write_section
from bench.texts import text_lines
from tally import sizing
from tally.keys import TOP_WORDS, Keys
from tally.settings import Settings
from tally.store import Block, connect
from tally.store.idempotent import Body
from tests.filling import fill
from tests.server import Server
from tests.stores import AllStores, in_minutes

KEYS = Keys()

NAME_LENGTHS = (8, 16, 36, 64, 256)

#: Names in a hash: the second is one whose table has just been doubled.
HASH_SIZES = (50_000, 70_000)

#: Windows of a minute, in each of which something is; some hours hold the same.
WINDOWS = 3000

#: Lines of the whole pipeline, and over how many seconds their times are spread.
LINES, SPAN_SECONDS = 150_000, 2 * 86_400

EXPLANATION = """\
Bytes of the server's memory (`used_memory`). *Reckoned* is what `tally size` takes for it. The pipeline counts
{lines:,} lines of text (`bench/texts.py`) with times over two days; its server is compared with what `tally size`
says of as many words, types and windows, without a backlog."""


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description="What things take in the server.")
    parser.add_argument("--write", action="store_true", help="put the report into bench/results.md")
    options = parser.parse_args(arguments)
    tidy_when_terminated()
    about = machine(server_version())
    try:
        with _server() as server:
            names, things = _names(server), _things(server)
        whole = _whole()
    except BenchError as error:
        raise SystemExit(f"bench: {error}") from None
    text = "\n\n".join((about, EXPLANATION.format(lines=LINES), names, things, whole))
    print(f"\n{text}")
    if options.write:
        write_section("Memory", text)


@contextmanager
def _server() -> Iterator[Server]:
    with temporary_folder() as folder:
        server = Server(folder, binary=os.environ.get("BENCH_SERVER"))
        server.start()
        try:
            yield server
        finally:
            server.kill()


def _grown(server: Server, put: Callable[[Any], None]) -> int:
    """Return by how many bytes the memory of an empty server grows."""
    with server.client() as client:
        client.execute_command("FLUSHALL", "SYNC")
        before = client.info("memory")["used_memory"]
        put(client)
        client.ping()
        return int(client.info("memory")["used_memory"]) - int(before)


def _names(server: Server) -> str:
    rows = []
    for length in NAME_LENGTHS:
        found = []
        for size in HASH_SIZES:
            names = ((f"{number:x}".rjust(length, "w"), 1 + number % 1000) for number in range(size))
            found.append(_grown(server, lambda client, names=names: fill(client, {KEYS.words: names})) / size)  # type: ignore[misc]
        reckoned = sizing.names_bytes(HASH_SIZES[0], length) / HASH_SIZES[0]
        rows.append((f"{length} bytes long", *(f"{each:.0f}" for each in found), f"{reckoned:.0f}"))
    return table(("a name in a hash", *(f"of {size:,}" for size in HASH_SIZES), "reckoned"), rows)


_Put = Callable[[AllStores, Any], Awaitable[None]]


def _things(server: Server) -> str:
    """Measure what the scripts write, so many of each."""
    settings = Settings()

    def each(number: int, put: _Put) -> float:
        async def all_of_them() -> None:
            redis = connect(server.url, timeout_seconds=60)
            store = AllStores(redis, keys=KEYS, settings=settings)
            await store.ensure_layout()
            await store.create_group()
            await put(store, redis)
            await redis.aclose()

        return _grown(server, lambda _: asyncio.run(all_of_them())) / number

    async def lone(store: AllStores, _: Any) -> None:
        await _append(store, 20_000, b"x" * 100)

    async def pending(store: AllStores, _: Any) -> None:
        await _append(store, 20_000, b"x" * 100)
        while await store.read(consumer="one", count=1000, block_ms=None):
            pass

    async def large(store: AllStores, _: Any) -> None:
        await _append(store, 200, b"x" * settings.max_block_bytes)

    async def files(store: AllStores, _: Any) -> None:
        for number in range(5000):
            name = f"file:/var/log/something/{number:05}/".ljust(78, "f") + f"#1024-{number:016x}"
            await store.append(source=name, blocks=[Block(0, 1, b"x", f"1024-{number:016x}")])
        while entries := await store.read(consumer="one", count=1000, block_ms=None):
            await store.count(consumer="one", entries=entries, counts=in_minutes())

    async def keys(store: AllStores, _: Any) -> None:
        for first in range(0, 50_000, 500):
            bodies = [Body(str(number), str(number), 86_400_000, [b"x"]) for number in range(first, first + 500)]
            await store.append_once(source="http", bodies=bodies)
            entries = await store.read(consumer="one", count=1000, block_ms=None)
            await store.count(consumer="one", entries=entries, counts=in_minutes())

    async def samples(_: AllStores, redis: Any) -> None:
        for _number in range(1000):
            await redis.xadd(
                KEYS.rejected,
                {"line": b"x" * 1024, "reason": "r" * 80, "source": "s" * 80, "rejected_ms": "1600000000000"},
            )

    async def windows(store: AllStores, _: Any) -> None:
        for first in range(0, WINDOWS, 100):
            await _append(store, 1, b"x", start=first // 100)
            entries = await store.read(consumer="one", count=1, block_ms=None)
            counts = in_minutes({1_600_000_020 + 60 * number: ({"a": 1}, {}) for number in range(first, first + 100)})
            await store.count(consumer="one", entries=entries, counts=counts)

    each(1, windows)  # scripts, once they are loaded, are no part of it
    rows = [
        ("a block of 100 bytes that waits", each(20_000, lone), sizing.BLOCK_BYTES + 100 * sizing.BLOCK_FACTOR),
        ("the same, pending", each(20_000, pending), sizing.BLOCK_BYTES + 100 * sizing.BLOCK_FACTOR),
        (
            f"a block of {settings.max_block_bytes:,} bytes",
            each(200, large),
            sizing.BLOCK_BYTES + settings.max_block_bytes * sizing.BLOCK_FACTOR,
        ),
        ("a file, with a name of 100 bytes", each(5000, files), sizing.FILE_BYTES),
        ("an Idempotency-Key", each(50_000, keys), sizing.KEY_BYTES),
        ("a sample of a rejected line", each(1000, samples), sizing.SAMPLE_BYTES),
        (
            "a window of one type",
            each(WINDOWS + WINDOWS // 60, windows),
            sizing.WINDOW_BYTES + sizing.names_bytes(1, 1),
        ),
    ]
    return table(
        ("", "bytes", "reckoned"), [(what, f"{found:,.0f}", f"{reckoned:,.0f}") for what, found, reckoned in rows]
    )


async def _append(store: AllStores, number: int, lines: bytes, *, start: int = 0) -> None:
    size = len(lines)
    for first in range(0, number, 8):
        blocks = [
            Block(start + at * size, start + (at + 1) * size, lines) for at in range(first, min(first + 8, number))
        ]
        for outcome in await store.append(source="pipe:", blocks=blocks):
            assert outcome.outcome == "appended", outcome


def _whole() -> str:
    now = int(time.time())
    settings = Settings()
    with fresh_bench() as bench, temporary_folder() as folder:
        client: Any = bench.start_server()
        path = folder / "events.ndjson"
        with path.open("wb") as file:
            file.writelines(text_lines(LINES, seed=7, first_seconds=now - SPAN_SECONDS, last_seconds=now))
        empty = client.info("memory")["used_memory"]
        written = client.info("persistence")["aof_current_size"]
        aggregator = bench.start_module("aggregator")
        ingestor = bench.start_module("ingestor", str(path))

        def counted() -> bool:
            aggregator.check()
            ingestor.check()
            return int(client.hget(KEYS.totals, "lines") or 0) >= LINES

        wait_until(counted, what="all is counted")
        ingestor.wait()
        aggregator.stop()
        grown = client.info("persistence")["aof_current_size"] - written
        client.bgrewriteaof()
        wait_until(lambda: not _rewriting(client), what="the file is rewritten")
        base = client.info("persistence")["aof_base_size"]
        used = client.info("memory")["used_memory"] - empty
        words, types = client.hlen(KEYS.words), client.hlen(KEYS.types)
        by_length = {}
        for length in settings.window_lengths:
            starts = client.zrange(KEYS.windows(length.seconds), 0, -1)
            names = [client.hlen(KEYS.window_words(length.seconds, int(start))) for start in starts]
            by_length[length] = (len(starts), names)
        mean_bytes = mean(len(word.encode()) for word in client.hkeys(KEYS.words))
        size = path.stat().st_size
    reckoned = sizing.names_bytes(words, mean_bytes) + sizing.names_bytes(types, 16)
    reckoned += TOP_WORDS * sizing.TOP_BYTES + sizing.FILE_BYTES
    for number, names in by_length.values():
        reckoned += sum(sizing.names_bytes(each, mean_bytes) for each in names)
        reckoned += number * (sizing.WINDOW_BYTES + sizing.names_bytes(types, 16))
    rows = [
        ("distinct words", f"{words:,}, of {mean_bytes:.1f} bytes"),
        *(
            (f"windows of {length.seconds:,} s", f"{number:,}, of {mean(names) if names else 0:,.0f} words")
            for length, (number, names) in by_length.items()
        ),
        ("memory", f"{used / 1e6:,.1f} MB"),
        ("reckoned", f"{reckoned / 1e6:,.1f} MB"),
        ("append-only file, for each byte of lines", f"{grown / size:.1f} bytes"),
        ("the same rewritten, for each byte of memory", f"{base / used:.2f} bytes"),
    ]
    return table(("the pipeline", ""), rows)


def _rewriting(client: Any) -> bool:
    about = client.info("persistence")
    return bool(about["aof_rewrite_in_progress"] or about["aof_rewrite_scheduled"])


if __name__ == "__main__":
    main()
