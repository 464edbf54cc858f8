"""One process counts all shards, or those that it is told to: exactly, fairly, to the end where it drains."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tally.generator import Generator, GeneratorSpec
from tally.keys import GROUP, Keys
from tally.shards import tags
from tests.effort import seeds
from tests.oracle import Expected
from tests.oracle import counted as counted_in
from tests.processes import Process, run, running
from tests.server import Server
from tests.waiting import wait_until


def keys_of(shards: int) -> list[Keys]:
    return [Keys(tag) for tag in tags(shards)]


def blocks_of(count: int, *, seed: int, lines: int = 50) -> Iterator[bytes]:
    """Yield the lines of so many events, some of which are none, in blocks of different sizes."""
    chance = random.Random(seed)
    whole = b"".join(Generator(GeneratorSpec(count=count, seed=seed, corrupt=0.05)).lines()).split(b"\n")
    while whole:
        at = chance.randint(1, 2 * lines)
        some, whole = whole[:at], whole[at:]
        yield b"\n".join(some)


def deal(client: Any, keys: list[Keys], blocks: Iterator[bytes], *, seed: int) -> Expected:
    """Add each block to one of the streams; return what they come to."""
    chance = random.Random(seed)
    lines: list[bytes] = []
    for block in blocks:
        client.xadd(chance.choice(keys).stream, {"lines": block, "source": "dealt"})
        lines += block.split(b"\n")
    return Expected.of(lines)


def counted(client: Any, keys: list[Keys]) -> Expected:
    """What all shards come to."""
    found = Expected()
    for each in keys:
        totals = client.hgetall(each.totals)
        found.types += Counter({name: int(count) for name, count in client.hgetall(each.types).items()})
        found.words += Counter({name: int(count) for name, count in client.hgetall(each.words).items()})
        found.events += int(totals.get("events", 0))
        found.rejected += int(totals.get("rejected", 0))
    return found


@pytest.mark.parametrize("shards", [3, pytest.param(16, marks=pytest.mark.slow)])
def test_a_drain_counts_what_is_in_all_shards_and_leaves_no_consumer(server: Server, shards: int) -> None:
    keys = keys_of(shards)
    with server.client() as client:
        want = deal(client, keys, blocks_of(20_000, seed=1), seed=2)
        variables = {"TALLY_REDIS_URL": server.url, "TALLY_SHARDS": str(shards), "TALLY_WORDS_BY_TYPE": "100"}
        done = run("aggregator", "--drain", env=variables)
        assert done.returncode == 0, done.stderr
        assert want.difference(counted(client, keys)) == ""
        assert sum((counted_in(client, each) for each in keys), Expected()).by_type == want.by_type
        for each in keys:
            assert client.xlen(each.stream) == 0
            assert client.xinfo_consumers(each.stream, GROUP) == []
            assert client.hget(each.layout, "shards") == str(shards)
        assert client.hget(Keys().layout, "shards") == str(shards)


def test_which_shards_it_serves_may_be_said(server: Server) -> None:
    keys = keys_of(4)
    variables = {"TALLY_REDIS_URL": server.url, "TALLY_SHARDS": "4"}
    with server.client() as client:
        deal(client, keys, blocks_of(2000, seed=1, lines=10), seed=2)
        before = [client.xlen(each.stream) for each in keys]
        assert all(before)
        done = run("aggregator", "--drain", env=variables | {"TALLY_AGGREGATE_SHARDS": "0, 2-2"})
        assert done.returncode == 0, done.stderr
        assert [client.xlen(each.stream) for each in keys] == [0, before[1], 0, before[3]]
        status = json.loads(run("tally", "status", "--json", env=variables).stdout)
        assert [each["blocks"] for each in status["shards"]] == [0, before[1], 0, before[3]]
        text = run("tally", "status", env=variables | {"COLUMNS": "200"}).stdout
        assert "No aggregator is alive that serves shard 1, 3" in text
        done = run("aggregator", "--drain", env=variables | {"TALLY_AGGREGATE_SHARDS": "4"})
        assert (done.returncode, "there is no shard 4" in done.stderr) == (2, True)


@pytest.mark.parametrize("seed", seeds(range(1), range(10)))
def test_several_processes_may_serve_the_same_shards_and_be_killed(server: Server, tmp_path: Path, seed: int) -> None:
    chance, keys = random.Random(seed), keys_of(3)
    variables = {
        "TALLY_REDIS_URL": server.url,
        "TALLY_SHARDS": "3",
        "TALLY_CLAIM_IDLE_SECONDS": "1",
        "TALLY_MAX_DELIVERIES": "1000",
    }
    aggregators = [Process("aggregator", log=tmp_path / f"{at}.log", **variables) for at in range(2)]

    def status() -> Any:
        return json.loads(run("tally", "status", "--json", env=variables).stdout)

    with running(*aggregators), server.client() as client:
        want = Expected()
        for part in range(4):
            some = deal(client, keys, blocks_of(20_000, seed=seed * 100 + part), seed=part)
            want.types += some.types
            want.words += some.words
            want.events += some.events
            want.rejected += some.rejected
            killed = chance.choice(aggregators)
            wait_until(lambda killed=killed: killed.has_begun, what="it is at work")  # type: ignore[misc]
            time.sleep(chance.uniform(0.0, 0.3))  # when the kill comes is what is random here
            killed.kill()
            killed.start()
        wait_until(lambda: counted(client, keys).events >= want.events, what="all is counted", seconds=120)
        assert want.difference(counted(client, keys)) == ""
        wait_until(
            lambda: all(each["aggregators_alive"] >= 2 for each in status()["shards"]),
            what="both serve all",
        )
        found = status()
        assert (found["totals"]["events"], found["dead_letters"]) == (want.events, 0)
        for aggregator in aggregators:
            aggregator.stop()
            assert "Traceback" not in aggregator.log()


def _rich(number: int) -> bytes:
    """Return a block of a quarter of a MiB, of words that come once each."""
    words = (f"{number:x}w{at:x}" for at in range(25_000))
    return b'{"event_type":"rich","data":"%s"}' % " ".join(words).encode()


def test_a_shard_with_a_long_backlog_holds_up_no_other(server: Server, tmp_path: Path) -> None:
    slow, *others = keys_of(3)
    small = b'{"event_type":"small","data":"lorem"}'
    medium = b"\n".join([b'{"event_type":"medium","data":"%s"}' % (b"lorem " * 100)] * 300)  # waits for a turn
    with server.client() as client:
        number = 0
        for _ in range(200):
            client.xadd(slow.stream, {"lines": _rich(number)})
            number += 1
        aggregator = Process(
            "aggregator",
            log=tmp_path / "log",
            TALLY_REDIS_URL=server.url,
            TALLY_SHARDS="3",
            TALLY_MAX_WORDS="100000000",
        )
        with running(aggregator):
            wait_until(lambda: int(client.hget(slow.totals, "events") or 0) > 0, what="the slow one is counted")
            want = dict.fromkeys(others, 0)
            for round_ in range(3):
                for each in others:
                    client.xadd(each.stream, {"lines": medium if round_ == 1 else small})
                    want[each] += 300 if round_ == 1 else 1
                    wait_until(
                        lambda each=each: int(client.hget(each.totals, "events") or 0) == want[each],  # type: ignore[misc]
                        what="another one is counted beside it",
                    )
                    # So that it is long, however fast this machine is.
                    while client.xlen(slow.stream) < 100:
                        client.xadd(slow.stream, {"lines": _rich(number)})
                        number += 1
            assert client.xlen(slow.stream) > 0


@pytest.mark.parametrize("shards", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_it_ends_soon_however_much_waits(server: Server, tmp_path: Path, shards: int) -> None:
    """What it has taken is settled, and so is some of what waits to be applied; others go on with the rest."""
    keys = keys_of(shards)
    variables = {"TALLY_REDIS_URL": server.url, "TALLY_SHARDS": str(shards)}
    aggregator = Process("aggregator", log=tmp_path / "log", **variables)
    with server.client() as client:
        for number in range(20):
            client.xadd(keys[number % shards].stream, {"lines": _rich(number)})
        with running(aggregator):

            def is_in_the_middle() -> bool:
                """Return whether batches wait to be applied; or nothing waits, where that is quicker than decoding."""
                settled = sum(int(client.hget(each.backlog, "settled_blocks") or 0) for each in keys)
                return settled >= 8 or not any(client.xlen(each.stream) for each in keys)

            wait_until(is_in_the_middle, what="it is in the middle of its work")
            assert aggregator.stop() == 0
        for each in keys:
            assert client.xinfo_consumers(each.stream, GROUP) == [], "it has left, with nothing pending to it"
        done = run("aggregator", "--drain", env=variables)
        assert done.returncode == 0, done.stderr
        assert sum(int(client.hget(each.totals, "events")) for each in keys) == 20


@pytest.mark.parametrize("seed", seeds(range(1), range(5)))
def test_what_fails_in_one_shard_stops_the_process_with_a_sentence(server: Server, tmp_path: Path, seed: int) -> None:
    keys = keys_of(3)
    variables = {"TALLY_REDIS_URL": server.url, "TALLY_SHARDS": "3"}
    with server.client() as client:
        client.hset(keys[seed % 3].layout, mapping={"format": "99"})
        done = run("aggregator", env=variables)
        assert (done.returncode, "format 99" in done.stderr) == (2, True)
        assert "Traceback" not in done.stderr
        for each in keys:
            if client.exists(each.stream):
                assert client.xinfo_consumers(each.stream, GROUP) == [], "the others have left"


@pytest.mark.slow
def test_a_file_from_end_to_end_and_what_commands_tell_of_it(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"".join(Generator(GeneratorSpec(count=20_000, seed=5, corrupt=0.02)).lines()))
    want = Expected.of(path.read_bytes().split(b"\n"))
    variables = {"TALLY_REDIS_URL": server.url, "TALLY_SHARDS": "3", "TALLY_STRIPE_BYTES": "65536"}
    for _ in range(2):  # what is there already is not counted again
        done = run("ingestor", str(path), env=variables)
        assert done.returncode == 0, done.stderr
        done = run("aggregator", "--drain", env=variables)
        assert done.returncode == 0, done.stderr
        with server.client() as client:
            assert want.difference(counted(client, keys_of(3))) == ""
    status = json.loads(run("tally", "status", "--json", env=variables).stdout)
    assert (status["totals"]["events"], status["totals"]["rejected"]) == (want.events, want.rejected)
    assert sum(status["rejected_by_reason"].values()) == want.rejected
    assert status["rejected_by_reason"]["not_json"] > 0
    assert (status["distinct_types"], status["distinct_words"]) == (len(want.types), len(want.words))
    assert [each["position"] for each in status["sources"]] == [path.stat().st_size]
    assert status["sources_total"] == 1
    shown = run("tally", "top", env=variables | {"COLUMNS": "200"}).stdout
    assert f"{want.events:,} events" in shown
    for counts in (want.types, want.words):
        for name, count in counts.most_common(3):
            assert any(name in line and f"{count:,}" in line for line in shown.splitlines()), (name, count)
