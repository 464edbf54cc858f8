"""`tally redis-users --load`: a server that runs takes new rights at once, and another is left alone."""

from __future__ import annotations

from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import redis as blocking_redis

from tests.processes import run
from tests.server import Server
from tests.waiting import wait_until


def redis_users(folder: Path, url: str, *arguments: str) -> CompletedProcess[str]:
    where = ("--passwords", str(folder), "--output", str(folder / "users.acl"), "--url", url)
    done = run("tally", "redis-users", *where, "--load", *arguments)
    assert done.returncode == 0, done.stderr
    return done


def answers(url: str) -> bool:
    with blocking_redis.Redis.from_url(url) as client:
        try:
            return bool(client.ping())
        except blocking_redis.RedisError:
            return False


def test_a_running_server_takes_new_rights_and_one_that_does_not_run_takes_them_when_it_starts(tmp_path: Path) -> None:
    users = tmp_path / "users"
    server = Server(tmp_path, options=("--aclfile", str(users / "users.acl")))
    said = redis_users(users, server.url).stderr
    assert "127.0.0.1 does not answer: it reads its users when it starts" in said
    assert not answers(server.url)

    server.process.start()
    try:
        of_ingestor, of_admin = ((users / name / "url").read_text().strip() for name in ("ingestor", "admin"))
        wait_until(lambda: answers(of_admin), what="the server answers")
        assert not answers(server.url), "the user default is off"
        with blocking_redis.Redis.from_url(of_ingestor) as client:
            client.hset("tally:{0}:sources", "a", "1")
            assert redis_users(users, server.url, "--namespace", "shop").stderr == ""
            client.hset("shop:{0}:sources", "a", "1")
            with pytest.raises(blocking_redis.exceptions.NoPermissionError):
                client.hset("tally:{0}:sources", "a", "1")

        (users / "admin" / "password").write_text("another\n")
        refused = redis_users(users, server.url).stderr
        assert "127.0.0.1 has the users that it had until it is restarted: Redis refuses the password" in refused
    finally:
        server.kill()


@pytest.mark.parametrize("stop", ["kill", pytest.param("stop", marks=pytest.mark.slow)])
def test_a_server_with_these_users_has_all_of_its_data_after_a_start(tmp_path: Path, stop: str) -> None:
    """A server reads its append-only file as `default`, and skips each transaction that this user may not run."""
    users = tmp_path / "users"
    server = Server(tmp_path, durable=True, options=("--aclfile", str(users / "users.acl"), "--appendfsync", "always"))
    redis_users(users, server.url)
    of = {name: (users / name / "url").read_text().strip() for name in ("ingestor", "aggregator", "admin")}
    server.process.start()
    try:
        wait_until(lambda: answers(of["admin"]), what="the server answers")
        (tmp_path / "events.ndjson").write_text('{"event_type": "a", "data": "Lorem ipsum"}\n')
        for user, *arguments in (
            ("ingestor", "ingest", str(tmp_path / "events.ndjson")),
            ("aggregator", "aggregate", "--drain"),
            ("ingestor", "ingest", "-"),
        ):
            variables = {"TALLY_REDIS_URL_FILE": str(users / user / "url")}
            done = run("tally", *arguments, env=variables, given=b'{"event_type": "b", "data": "dolor"}\n')
            assert done.returncode == 0, done.stderr
        with blocking_redis.Redis.from_url(of["admin"]) as client:

            def stored() -> dict[Any, Any]:
                return {key: client.hgetall(key) for key in client.scan_iter(_type="HASH")}

            before, waiting = stored(), client.xlen("tally:{0}:stream")
            getattr(server, stop)()
            server.process.start()
            wait_until(lambda: answers(of["admin"]), what="the server is back")
            assert stored() == before
            assert client.xlen("tally:{0}:stream") == waiting == 1
            assert client.hget("tally:{0}:types", "a") == b"1"
    finally:
        server.kill()


def test_loading_needs_a_file_that_redis_reads_and_a_password() -> None:
    done = run("tally", "redis-users", "--load")
    assert done.returncode == 2
    assert "--load needs --passwords and --output" in done.stderr
