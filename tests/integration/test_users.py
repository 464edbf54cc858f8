"""The users that the services have in Redis: each may do all that its service does, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import redis as blocking_redis

from tally.keys import Keys
from tests.processes import run
from tests.server import Server
from tests.users import give_users, refusals, url_of

KEYS = Keys()

EVENT = b'{"event_type":"a","data":"Lorem ipsum","timestamp":1600000000}\n'

#: By the rules of a user, or because a script that only reads may write nothing.
REFUSED = re.compile(
    "(?i)no permission|can't run this command|can't access at least one|write commands are not allowed"
)


@pytest.fixture
def users(durable_server: Server) -> Server:
    """A server with the users."""
    give_users(durable_server)
    return durable_server


def _run(url: str, *arguments: str, **variables: str) -> CompletedProcess[str]:
    Path("events.ndjson").write_bytes(EVENT)
    return run("tally", *arguments, env={"TALLY_REDIS_URL": url, **variables})


def test_each_service_does_its_work_as_its_user(users: Server) -> None:
    for user, *arguments in (
        ("ingestor", "ingest", "events.ndjson"),
        ("aggregator", "aggregate", "--drain"),
        ("api", "status"),
        ("api", "top"),
        ("admin", "layout", "--accept"),
    ):
        done = _run(url_of(users.url, user), *arguments, TALLY_WORDS_BY_TYPE="10")
        assert done.returncode == 0, (arguments, done.stderr)
        assert "redis refuses" not in done.stderr, done.stderr
    with users.client() as client:
        block = {"lines": EVENT, "id": "1-1", "deliveries": 5}
        for command in ("retry", "drop"):
            letter = str(client.xadd(KEYS.dead_letters, block))
            more = ["--yes"] if command == "drop" else []
            done = _run(url_of(users.url, "admin"), "dead-letters", command, letter, *more)
            assert done.returncode == 0, (command, done.stderr)
    assert refusals(users) == []


@pytest.mark.parametrize(
    ("user", "calls"),
    [
        (
            "api",
            [
                ("SET", KEYS.totals, "x"),
                ("GET", KEYS.probe),
                ("EVAL_RO", "return redis.call('SET', KEYS[1], 'x')", 1, KEYS.probe),
                ("EVAL", "return 1", 0),
                ("SET", "tally:{0}:probe:2", "x"),
                ("HGETALL", "shop:{0}:types"),
                ("XADD", KEYS.stream, "*", "lines", "x"),
            ],
        ),
        (
            "ingestor",
            [
                ("HSET", KEYS.types, "a", "1"),
                ("HGETALL", KEYS.words),
                ("EVAL", "return redis.call('HSET', KEYS[1], 'a', 1)", 1, KEYS.types),
                ("EVAL", "return redis.call('HSET', 'tally:{0}:types', 'a', 1)", 1, KEYS.stream),
                ("XDEL", KEYS.stream, "1-1"),
                ("UNLINK", KEYS.stream),
                ("RENAME", KEYS.once_new, KEYS.stream),
                ("SET", KEYS.sources, "x"),
                ("HGETALL", "shop:{0}:sources"),
            ],
        ),
        (
            "aggregator",
            [
                ("HSET", KEYS.sources, "a", "1"),
                ("HGET", KEYS.once_new, "a"),
                ("UNLINK", KEYS.types),
                ("UNLINK", KEYS.stream),
                ("SET", KEYS.types, "x"),
                ("XTRIM", KEYS.stream, "MAXLEN", "0"),
                ("HGETALL", "shop:{0}:types"),
            ],
        ),
        ("replica", [("GET", KEYS.probe), ("HGETALL", KEYS.types), ("INFO",)]),
    ],
)
def test_what_no_service_does_is_refused(users: Server, user: str, calls: list[tuple[str, ...]]) -> None:
    nobodys = [
        *(("FLUSHALL",), ("FLUSHDB",), ("KEYS", "*"), ("SCAN", "0"), ("MONITOR",), ("SHUTDOWN",)),
        *(("CONFIG", "GET", "*"), ("CONFIG", "SET", "appendonly", "no"), ("ACL", "LIST"), ("CLIENT", "LIST")),
        *(("CLIENT", "KILL", "TYPE", "normal"), ("CLIENT", "PAUSE", "1"), ("REPLICAOF", "NO", "ONE"), ("SAVE",)),
        *(("PUBLISH", "a", "b"), ("SUBSCRIBE", "a"), ("FUNCTION", "LIST"), ("SCRIPT", "FLUSH"), ("SWAPDB", "0", "1")),
        *(("CLUSTER", "RESET"), ("MIGRATE", "127.0.0.1", "1", "a", "0", "1"), ("GET", "other"), ("SET", "other", "1")),
    ]
    with blocking_redis.Redis.from_url(url_of(users.url, user)) as client, users.client() as ours:
        ours.xadd(KEYS.stream, {"lines": EVENT})
        before = {key: ours.dump(key) for key in ours.keys()}  # noqa: SIM118
        for call in (*nobodys, *calls):
            with pytest.raises(blocking_redis.exceptions.ResponseError, match=REFUSED):
                client.execute_command(*call)
        assert {key: ours.dump(key) for key in ours.keys()} == before  # noqa: SIM118
