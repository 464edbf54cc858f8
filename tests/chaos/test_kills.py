"""Whatever is killed, and whenever: every event is counted exactly once."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import pytest
import redis

from aggregator.log_events import CLAIMED, CLAIMED_BY_OTHERS, NUMBERED_MEANWHILE, STREAM_LOST
from ingestor.log_events import READING_AGAIN
from tally.keys import GROUP, Keys
from tests.effort import seeds
from tests.oracle import Expected, counted
from tests.processes import Process, run, running
from tests.proxy import LossyProxy
from tests.server import Server
from tests.waiting import wait_until

KEYS = Keys()

#: So many types have their words counted apart: not all, so that aggregators may disagree about which came first.
TYPES_APART = 4

#: Small blocks and a short backlog, so that there is always something in flight to be killed.
SMALL = {
    "TALLY_MAX_BLOCK_BYTES": "32768",
    "TALLY_MAX_BLOCKS_IN_FLIGHT": "4",
    "TALLY_MAX_BACKLOG_BLOCKS": "200",
    "TALLY_CLAIM_IDLE_SECONDS": "0.5",
    "TALLY_WORDS_BY_TYPE": str(TYPES_APART),
}

KILLS = 15


def check(client: redis.Redis, expected: Expected) -> None:
    """Everything is counted once, and that of the types that were first also by type."""
    found = counted(client)
    assert found == expected
    assert len(found.by_type) == TYPES_APART
    assert found.by_type == {each: expected.by_type[each] for each in found.by_type}


def finish(ingestor: Process, url: str, folder: Path) -> None:
    """Let the ingestor come to its end, and count what is left."""
    while ingestor.wait() != 0:
        ingestor.start()
    drain = Process("aggregator", "--drain", log=folder / "drain.log", TALLY_REDIS_URL=url, **SMALL)
    with running(drain):
        assert drain.wait() == 0, drain.log()


@pytest.mark.parametrize("seed", seeds([1], [2, 3, 4, 5]))
def test_killed_ingestors_and_aggregators(
    server: Server, many_events: tuple[Path, Expected], tmp_path: Path, seed: int
) -> None:
    path, expected = many_events
    chance = random.Random(seed)
    url = {"TALLY_REDIS_URL": server.url}
    ingestor = Process("ingestor", str(path), log=tmp_path / "ingestor.log", **url, **SMALL)
    workers = [Process("aggregator", log=tmp_path / f"aggregator-{at}.log", **url, **SMALL) for at in range(3)]
    with running(ingestor, *workers), server.client() as client:
        kills = at_work = 0
        for share in sorted(chance.uniform(0.02, 0.9) for _ in range(KILLS)):
            wait_until(
                lambda share=share: position(client) > share * path.stat().st_size,  # type: ignore[misc]
                what=f"{share:.0%} of the file is appended",
            )
            victim = chance.choice([ingestor, *workers])
            at_work += victim.has_begun
            kills += victim.kill()
            victim.start()
        finish(ingestor, server.url, tmp_path)
        assert kills == KILLS, "each of them found its victim alive"
        # A slow machine kills many while they start.
        assert at_work >= 3, f"only {at_work} were at work"
        check(client, expected)
        assert client.xlen(KEYS.stream) == 0


@pytest.mark.parametrize("seed", seeds([1], [2, 3, 4, 5]))
def test_killed_server_that_loses_its_last_writes(
    durable_server: Server, many_events: tuple[Path, Expected], tmp_path: Path, seed: int
) -> None:
    """A crash takes the end of the append-only file: counts and positions roll back together."""
    path, expected = many_events
    chance = random.Random(seed)
    server = durable_server
    url = {"TALLY_REDIS_URL": server.url}
    ingestor = Process("ingestor", str(path), log=tmp_path / "ingestor.log", **url, **SMALL)
    workers = [Process("aggregator", log=tmp_path / f"aggregator-{at}.log", **url, **SMALL) for at in range(2)]
    crashes = 0
    with running(ingestor, *workers):
        for share in (0.1, 0.3, 0.5, 0.7):
            with server.client() as client:
                wait_until(
                    lambda share=share, client=client: position(client) > share * path.stat().st_size,  # type: ignore[misc]
                    what=f"{share:.0%} of the file is appended",
                )
            assert server.kill()
            lost_bytes = chance.randrange(1, 2_000_000)
            if ingestor.exit_code is None:
                crashes += cut_append_only_file(tmp_path / "server", lost_bytes)
            server.start()
        finish(ingestor, server.url, tmp_path)
    assert crashes >= 2
    with server.client() as client:
        check(client, expected)
    assert READING_AGAIN in ingestor.log()


def position(client: Any) -> int:
    return max((int(each) for each in client.hvals(KEYS.sources)), default=0)


def cut_append_only_file(folder: Path, lost_bytes: int) -> bool:
    newest = max((folder / "appendonlydir").glob("*.incr.aof"), key=lambda file: file.stat().st_mtime)
    size = newest.stat().st_size
    with newest.open("r+b") as file:
        file.truncate(max(0, size - lost_bytes))
    return size > lost_bytes


@pytest.mark.parametrize(
    "word",
    [b"settled", *(pytest.param(each, marks=pytest.mark.slow) for each in (b"appended", b"staged", b"applied"))],
)
def test_lost_replies(server: Server, many_events: tuple[Path, Expected], tmp_path: Path, word: bytes) -> None:
    """The script ran, its reply did not come: it is asked again, and does nothing twice."""
    path, expected = many_events
    proxy = LossyProxy(server.port, word=word, chance=0.05, seed=5)
    ingestor = Process("ingestor", str(path), log=tmp_path / "ingestor.log", TALLY_REDIS_URL=proxy.url, **SMALL)
    aggregator = Process("aggregator", log=tmp_path / "aggregator.log", TALLY_REDIS_URL=proxy.url, **SMALL)
    with running(ingestor, aggregator), server.client() as client:
        finish(ingestor, server.url, tmp_path)
        proxy.close()
        assert proxy.lost >= 5
        check(client, expected)
        assert client.xlen(KEYS.dead_letters) == 0, "a lost connection is not held against a block"


@pytest.mark.parametrize(
    "word", [b"settled", *(pytest.param(each, marks=pytest.mark.slow) for each in (b"staged", b"applied"))]
)
def test_an_aggregator_that_is_killed_right_after_a_step(
    server: Server, many_events: tuple[Path, Expected], tmp_path: Path, word: bytes
) -> None:
    """What is staged and not settled is counted anew; what is settled is applied by whichever comes next."""
    path, expected = many_events
    waiting: list[int] = []  # how many batches were to be applied when it was killed

    def kill() -> None:
        assert victim.kill()
        with server.client() as looking:
            waiting.append(looking.llen(KEYS.deltas))

    proxy = LossyProxy(server.port, word=word, chance=0.2, seed=7, on_loss=kill)
    victim = Process("aggregator", log=tmp_path / "victim.log", TALLY_REDIS_URL=proxy.url, **SMALL)
    ingestor = Process("ingestor", str(path), log=tmp_path / "ingestor.log", TALLY_REDIS_URL=server.url, **SMALL)
    with running(ingestor, victim), server.client() as client:
        for kills in range(1, 6):
            wait_until(lambda kills=kills: len(waiting) == kills, what="it was killed")  # type: ignore[misc]
            assert victim.wait() == -signal.SIGKILL
            if kills < 5:
                victim.start()
        proxy.close()
        with running(Process("aggregator", log=tmp_path / "next.log", TALLY_REDIS_URL=server.url, **SMALL)):
            finish(ingestor, server.url, tmp_path)
        check(client, expected)
        assert client.llen(KEYS.deltas) == 0
        assert client.xlen(KEYS.dead_letters) == 0, "being killed is not held against a block so soon"
    if word == b"settled":
        assert all(waiting), "nothing of that was applied by then"


def test_paused_aggregator_wakes_up_with_a_batch_that_somebody_else_claimed(
    server: Server, many_events: tuple[Path, Expected], tmp_path: Path
) -> None:
    path, expected = many_events
    url = {"TALLY_REDIS_URL": server.url}
    ingestor = Process("ingestor", str(path), log=tmp_path / "ingestor.log", **url, **SMALL)
    # However long the pause is, what Redis has sent meanwhile is read after it: a timeout would throw it away.
    patient = {"TALLY_REDIS_TIMEOUT_SECONDS": "300"}
    paused = Process("aggregator", log=tmp_path / "paused.log", **url, **SMALL, **patient)
    other = Process("aggregator", log=tmp_path / "other.log", **url, **SMALL)
    with running(ingestor, paused), server.client() as client:

        def paused_with_a_batch() -> bool:
            paused.send(signal.SIGSTOP)
            if sum(each["pending"] for each in client.xinfo_consumers(KEYS.stream, GROUP)) > 0:
                return True
            paused.send(signal.SIGCONT)
            return False

        wait_until(lambda: client.exists(KEYS.totals) == 1, what="counting has begun")
        wait_until(paused_with_a_batch, what="it is paused with a batch in its hands")
        with running(other):
            wait_until(lambda: CLAIMED in other.log(), what="the other claims it")
            finish(ingestor, server.url, tmp_path)
            paused.send(signal.SIGCONT)
            # The first batches have few types: the other may have given a number to one that is not apart in this one.
            told = (CLAIMED_BY_OTHERS, NUMBERED_MEANWHILE)
            wait_until(lambda: any(event in paused.log() for event in told), what="it finds out")
            assert paused.stop() == 0
            check(client, expected)


def test_flush_while_everything_runs(server: Server, many_events: tuple[Path, Expected], tmp_path: Path) -> None:
    path, expected = many_events
    url = {"TALLY_REDIS_URL": server.url}
    ingestor = Process("ingestor", str(path), log=tmp_path / "ingestor.log", **url, **SMALL)
    workers = [Process("aggregator", log=tmp_path / f"aggregator-{at}.log", **url, **SMALL) for at in range(2)]
    with running(ingestor, *workers), server.client() as client:
        for _ in range(3):
            wait_until(lambda: position(client) > path.stat().st_size / 5, what="a part of the file is appended")
            assert ingestor.exit_code is None
            client.flushall()
        finish(ingestor, server.url, tmp_path)
        check(client, expected)
    assert READING_AGAIN in ingestor.log()
    assert any(STREAM_LOST in worker.log() for worker in workers)


def test_block_that_kills_its_reader_goes_to_the_dead_stream_alone(server: Server, tmp_path: Path) -> None:
    """Every aggregator that decodes the poison dies at once; its neighbours are counted all the same."""
    script = (
        "import os, aggregator.decoding as d\n"
        "add = d.Accumulator.add\n"
        "def deadly(self, entry):\n"
        "    if b'POISON' in (entry.lines or b''): os._exit(9)\n"
        "    return add(self, entry)\n"
        "d.Accumulator.add = deadly\n"
        "from aggregator.__main__ import main\n"
        "main(['--drain'])\n"
    )
    (tmp_path / "deadly.py").write_text(script)
    worker = Process(
        "deadly",
        log=tmp_path / "log",
        PYTHONPATH=str(tmp_path),
        TALLY_REDIS_URL=server.url,
        TALLY_CLAIM_IDLE_SECONDS="0.1",
        TALLY_MAX_DELIVERIES="3",
    )
    with server.client() as client, running(worker):
        for at in range(20):
            text = "POISON" if at == 10 else "fine"
            client.xadd(KEYS.stream, {"lines": f'{{"event_type": "{text}", "data": "x"}}', "source": "test"})
        deaths = 0
        while worker.wait() != 0:
            deaths += 1
            worker.start()
        assert deaths == 3
        assert counted(client).types == {"fine": 19}
        ((_, dead),) = client.xrange(KEYS.dead_letters)
        assert dead["lines"] == '{"event_type": "POISON", "data": "x"}'
        assert (dead["source"], dead["deliveries"]) == ("test", "3")
        assert client.xlen(KEYS.stream) == 0
        url = {"TALLY_REDIS_URL": server.url}
        retried = run("tally", "dead-letters", "retry", "--all", env=url)
        assert retried.returncode == 0, retried.stderr
        assert run("aggregator", "--drain", env=url).returncode == 0, "a program that it does not end"
        assert counted(client).types == {"fine": 19, "POISON": 1}
        assert client.xlen(KEYS.dead_letters) == 0
