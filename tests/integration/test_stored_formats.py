"""Data that a Tally of another format has stored, or one of this format before, is gone on with: nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as blocking_redis

from tally.keys import Keys
from tally.layout import FORMAT, FORMAT_BEFORE
from tally.settings import Settings
from tally.store import connect
from tally.store.reads import CountReader
from tests import stored
from tests.oracle import Expected, counted
from tests.processes import run
from tests.server import Server

KEYS = Keys()

#: What is written to the file after the data was stored.
NEW = 50

ALL = stored.COUNTED + stored.WAITING + NEW

LINES = stored.lines(0, ALL).splitlines(keepends=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file that was read, which has grown."""
    path = tmp_path / "events.ndjson"
    path.write_bytes(stored.lines(0, ALL))
    return path


@pytest.fixture(params=[FORMAT_BEFORE, FORMAT])
def data_format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def old(data_format: str, path: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that has the stored data."""
    server = stored.serve(stored.sample(data_format), tmp_path / "server")
    try:
        with server.client() as client:
            _move(client, path)
        yield server
    finally:
        server.stop()


def _move(client: blocking_redis.Redis, path: Path) -> None:
    """Name the file as it is called here."""
    read: Any = client
    before = str(stored.PATH)
    for key in (KEYS.sources, KEYS.sources_last):
        for name, value in read.hgetall(key).items():
            client.hset(key, name.replace(before, str(path)), value)
            client.hdel(key, name)
    for key in (KEYS.sources_seen, KEYS.sources_names):
        for name, score in read.zrange(key, 0, -1, withscores=True):
            client.zadd(key, {name.replace(before, str(path)): score})
            if before in name:
                client.zrem(key, name)


def _tally(server: Server, *arguments: str) -> str:
    done = run(*arguments, env={"TALLY_REDIS_URL": server.url})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("data_format", [FORMAT_BEFORE], indirect=True)
@pytest.mark.parametrize("arguments", [("ingestor", "FILE"), ("aggregator", "--drain"), ("tally", "status")])
def test_the_format_before_is_refused_with_the_way_on(old: Server, path: Path, arguments: tuple[str, ...]) -> None:
    with old.client() as client:
        changes = client.info("persistence")["rdb_changes_since_last_save"]
        given = [str(path) if each == "FILE" else each for each in arguments]
        done = run(*given, env={"TALLY_REDIS_URL": old.url})
        assert done.returncode == 2, done.stderr
        assert "Run `tally layout --accept`" in done.stderr
        assert "Traceback" not in done.stderr
        assert client.info("persistence")["rdb_changes_since_last_save"] == changes, "nothing is written"


async def test_what_was_counted_and_what_waits_is_carried_over(old: Server, data_format: str, path: Path) -> None:
    expected = Expected.of(LINES)
    if data_format != FORMAT:
        assert f"format {FORMAT}" in _tally(old, "tally", "layout", "--accept")
    _tally(old, "ingestor", str(path))  # from its position
    _tally(old, "aggregator", "--drain")
    with old.client() as client:
        assert expected.difference(counted(client)) == ""
        assert client.xlen(KEYS.stream) == 0
    status = json.loads(_tally(old, "tally", "status", "--json"))
    before, after = (Expected.of(part) for part in (LINES[: stored.COUNTED], LINES[stored.COUNTED :]))
    reasons = {name: number for name, number in status["rejected_by_reason"].items() if number}
    assert reasons == {"unknown": before.rejected, "not_json": after.rejected}, "none were told apart then"
    redis = connect(old.url, timeout_seconds=30)
    try:
        reader = CountReader(redis, keys=KEYS, settings=Settings())
        _, types = await reader.sum_range("types", stored.DAY, stored.DAY + 10 * 86_400)
    finally:
        await redis.aclose()
    found = {name.decode(): count for name, count in types.items()}
    if data_format == FORMAT:
        assert found == dict(expected.types)
    else:  # windows begin anew, some time after the newest of what was counted before
        assert all(0 <= found.get(name, 0) < count for name, count in expected.types.items())
        assert sum(found.values()) >= NEW // 2
