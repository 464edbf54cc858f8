"""`tally reset` on one server: asked for, while services run, killed in the middle."""

from __future__ import annotations

import os
import pty
from pathlib import Path

import pytest

from tally.keys import Keys
from tally.shards import tags
from tally.store.held import ENDLESS_MS
from tests.processes import Child, Process, module, run, running
from tests.resets import empties_under_load
from tests.server import Server
from tests.waiting import wait_until


@pytest.mark.parametrize("shards", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_services_go_on_and_count_again_what_can_be_read_again(server: Server, tmp_path: Path, shards: int) -> None:
    with server.client() as client:
        empties_under_load(tmp_path, url=server.url, shards=shards, namespace="shop", client_of=lambda _: client)


def test_one_that_was_killed_is_run_again(server: Server, tmp_path: Path) -> None:
    url = {"TALLY_REDIS_URL": server.url}
    (tmp_path / "events.ndjson").write_bytes(b'{"event_type":"a","data":"b"}\n')
    assert run("tally", "ingest", "events.ndjson", env=url | {"TALLY_SHARDS": "2"}).returncode == 0
    windows = 30_000
    with server.client() as client:
        pipeline = client.pipeline(transaction=False)
        for start in range(windows):
            pipeline.hset(Keys().window_words(60, start), "word", 1)
        pipeline.execute()
        resetting = Process("tally", "reset", "--yes", log=tmp_path / "reset.log", **url)
        with running(resetting):
            wait_until(lambda: client.dbsize() < windows, what="something is deleted", pause_seconds=0)
            resetting.kill()
        # Nothing is read again on top of the counts that are left, however long that takes, and nothing exports them.
        for tag in tags(2):
            assert str(client.hget(Keys(tag).backlog, "lease")).endswith(f":{ENDLESS_MS}")
        status = run("tally", "status", env=url | {"TALLY_SHARDS": "2"})
        assert "if it was stopped, run it again" in status.stdout, status
        other = run("tally", "export", "-", env=url | {"TALLY_SHARDS": "2"})
        assert other.returncode == 1, other
        assert "`tally reset` on" in other.stderr
        # It knows by the layout, which goes behind the counts, how many shards there are.
        done = run("tally", "reset", "--yes", env=url)
        assert done.returncode == 0, done.stderr
        assert client.keys("*") == []
        again = run("tally", "reset", "--yes", env=url)
        assert (again.returncode, again.stdout[:15]) == (0, "Deleted 0 keys:")


def test_nothing_is_deleted_that_nobody_has_confirmed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "events.ndjson").write_bytes(b'{"event_type":"a","data":"b"}\n' * 3)
    url = {"TALLY_REDIS_URL": server.url}
    for command in (["ingest", "events.ndjson"], ["aggregate", "--drain"]):
        assert run("tally", *command, env=url).returncode == 0
    refused = run("tally", "reset", env=url)
    assert (refused.returncode, "add --yes" in refused.stderr) == (2, True)
    with server.client() as client:
        before = client.dbsize()
        for answer, code in ((b"n\n", 1), (b"y\n", 0)):
            ours, theirs = pty.openpty()
            asked = Child(module("tally", "reset"), log=tmp_path / "asked.log", variables=url, stdin=theirs)
            try:
                with running(asked):
                    os.write(ours, answer)
                    assert asked.wait() == code, asked.log()
            finally:
                os.close(ours)
                os.close(theirs)
            said = asked.log()
            assert f"namespace tally of {server.url}: 3 events, 3 words; 0 blocks wait to be counted" in said
            assert client.dbsize() == (before if code else 0), said
