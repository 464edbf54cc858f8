"""Answers under load: `python -m bench.api [--write]`.

One worker of Tally's api while events flow, asked over 64 connections, beside a bare FastAPI handler that returns a
dict: in turns, several times in one run. And how long one answer takes about a week of words.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from statistics import median
from typing import Any

from aggregator.folding import Folding
from bench.contenders import server_version
from bench.processes import ROOT, Bench, BenchError, fresh_bench, tidy_when_terminated, wait_until
from bench.report import machine, table, write_section
from tally.keys import GROUP, Keys
from tally.settings import Settings
from tally.store import WindowStore, connect
from tally.telemetry import configure
from tests.server import free_port
from tests.stores import AllStores, in_minutes

CONNECTIONS = 64
MILLION = 1_000_000
WEEK_WORDS = 50_000
HOUR, WEEK = 3600, 7 * 86_400

EXPLANATION = f"""\
Requests a second and the slowest of a hundred, {CONNECTIONS} connections, one worker, while the generator's events flow
at 1,000 a second; medians of {{rounds}} rounds in turns, with the load's own process on the same cores. The ratio is to
the bare handler of the same round. `CountWords` holds the generator's words; for `/v1/words` the store holds a
million."""


@dataclass(frozen=True, slots=True)
class Contender:
    """What is asked: a name for the report, a port and a path."""

    name: str
    port: int
    path: str


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.api", description="Answers under load.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each time (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="put the report into bench/results.md")
    options = parser.parse_args(arguments)
    if not (1 <= options.rounds <= 50 and 0.5 <= options.seconds <= 60):
        parser.error("1 to 50 rounds of 0.5 to 60 seconds")
    tidy_when_terminated()
    try:
        text = "\n\n".join(
            (
                machine(server_version()),
                EXPLANATION.format(rounds=options.rounds),
                _under_load(options.rounds, options.seconds),
                _week_of_words(options.rounds),
            )
        )
    except BenchError as error:
        raise SystemExit(f"bench: {error}") from None
    print(text)
    if options.write:
        write_section("Answers", text)


def _under_load(rounds: int, seconds: float) -> str:
    with fresh_bench() as few, fresh_bench() as many:
        contenders = [_bare(few), *_few_words(few), *_million_words(many)]
        found: dict[str, list[dict[str, float]]] = {contender.name: [] for contender in contenders}
        for _ in range(rounds):
            for contender in contenders:
                found[contender.name].append(_load(contender, seconds))
        bare = found[contenders[0].name]
        rows = []
        for name, results in found.items():
            ratios = [
                one["requests_per_second"] / other["requests_per_second"]
                for one, other in zip(results, bare, strict=True)
            ]
            rows.append(
                (
                    name,
                    f"{median(each['requests_per_second'] for each in results):,.0f}",
                    f"{median(each['p50_ms'] for each in results):.1f} ms",
                    f"{median(each['p99_ms'] for each in results):.1f} ms",
                    f"{median(ratios):.2f}",
                )
            )
        return table(("", "requests/s", "median", "p99", "ratio"), rows)


def _load(contender: Contender, seconds: float) -> dict[str, float]:
    arguments = (str(contender.port), contender.path, str(CONNECTIONS), str(seconds))
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=seconds + 30
    )
    if done.returncode:
        raise BenchError(f"{contender.name}: {done.stderr[-500:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _bare(bench: Bench) -> Contender:
    port = free_port()
    bench.start_server()
    bench.start_module("bench.bare", str(port))
    _wait_for(port, "/")
    return Contender("bare FastAPI handler, a dict of 20", port, "/")


def _few_words(bench: Bench) -> list[Contender]:
    port = _api(bench)
    return [Contender("/events/CountWords", port, "/events/CountWords?limit=20")]


def _million_words(bench: Bench) -> list[Contender]:
    client = bench.start_server()
    words = {f"word{number}": 1 + MILLION // number for number in range(1, MILLION + 1)}
    asyncio.run(_store(_url(client), [(int(time.time()), words)]))
    port = _api(bench)
    return [Contender("/v1/words?limit=100 of a million", port, "/v1/words?limit=100")]


def _api(bench: Bench) -> int:
    """An api on this bench's server, with events flowing."""
    port = free_port()
    bench.start_module("aggregator")
    bench.start_module("ingestor", "demo:?rate=1000&corrupt=0")
    bench.start_module("api", TALLY_HTTP_PORT=str(port), TALLY_HTTP_HOST="127.0.0.1")
    _wait_for(port, "/v1/stats")
    return port


def _wait_for(port: int, path: str) -> None:
    def answers() -> bool:
        try:
            _get(port, path)
        except OSError:
            return False
        return True

    wait_until(answers, what=f"port {port} answers", pause_seconds=0.05)


def _get(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return json.load(answer)


def _url(client: Any) -> str:
    return f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}/0"


async def _store(url: str, windows: list[tuple[int, dict[str, int]]]) -> None:
    """Have words counted in windows through the scripts, and what is too old folded or dropped."""
    settings = Settings(redis_url=url, max_words=2 * MILLION, max_window_words=100_000, log_level="warning")
    configure(settings, service="bench")
    redis = connect(url, timeout_seconds=60)
    keys = Keys()
    blocks = AllStores(redis, keys=keys, settings=settings)
    await blocks.create_group()
    for start, words in windows:
        items = list(words.items())
        for first in range(0, len(items), 50_000):
            await redis.xadd(keys.stream, {"lines": b""})
            (entry,) = await blocks.read(consumer="bench", count=1, block_ms=None)
            counts = in_minutes({start: ({"bench": 1}, dict(items[first : first + 50_000]))})
            await blocks.count(consumer="bench", entries=[entry], counts=counts)
    folding = Folding(WindowStore(redis, keys=keys, settings=settings))
    while folding.overdue:
        await folding.step()
    await redis.xgroup_delconsumer(keys.stream, GROUP, "bench")
    await redis.aclose()


def _week_of_words(rounds: int) -> str:
    """How long an answer takes that adds up a week: each hour has a part of the words, by Zipf's law."""
    with fresh_bench() as bench:
        client = bench.start_server()
        chance = random.Random(3)
        now = int(time.time()) // HOUR * HOUR
        weights = [1 / (number + 10) for number in range(WEEK_WORDS)]
        names = [f"word{number}" for number in range(WEEK_WORDS)]
        windows = []
        for hour in range(7 * 24 + 1, -1, -1):
            drawn: dict[str, int] = {}
            for name in chance.choices(names, weights, k=20_000):
                drawn[name] = drawn.get(name, 0) + 1
            windows.append((now - hour * HOUR, drawn))
        asyncio.run(_store(_url(client), windows))
        port = free_port()
        bench.start_module("api", TALLY_HTTP_PORT=str(port), TALLY_HTTP_HOST="127.0.0.1")
        _wait_for(port, "/healthz")
        seconds = []
        distinct = 0
        for round_ in range(rounds):
            # Another time range each time, so that no snapshot answers.
            began = time.perf_counter()
            answer = _get(port, f"/v1/words?from={now - WEEK - 60 * round_}&to={now + 60}&limit=100")
            seconds.append(time.perf_counter() - began)
            distinct = answer["distinct"]
        return (
            f"A week of words, {distinct:,} distinct, {sum(len(words) for _, words in windows):,} counts in its hours: "
            f"{1000 * median(seconds):.0f} ms (median of {rounds}, none from a snapshot)."
        )


if __name__ == "__main__":
    main()
