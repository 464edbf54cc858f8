"""A backup that is taken while everything runs, and is put back elsewhere: what was counted since is counted again.

It is taken and put back as docs/operations.md says.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tally.keys import Keys
from tests.backups import files, snapshot
from tests.oracle import Expected, counted
from tests.processes import Process, running
from tests.server import Server
from tests.waiting import wait_until

KEYS = Keys()

LINES = 20_000


def _lines(first: int, last: int) -> list[bytes]:
    return [
        b'{"event_type":"type-%d","data":"word-%d and more"}\n' % (each % 7, each % 9999) for each in range(first, last)
    ]


@pytest.mark.parametrize("back_up", [snapshot, pytest.param(files, marks=pytest.mark.slow)])
def test_what_came_after_the_backup_is_counted_again_and_once(
    durable_server: Server, tmp_path: Path, back_up: Callable[[Any, Path, Path], None]
) -> None:
    path, copy = tmp_path / "events.ndjson", tmp_path / "restored"
    path.write_bytes(b"".join(_lines(0, LINES)))
    # Small blocks, so that there is a middle.
    variables = {"TALLY_MAX_BLOCK_BYTES": "4096", "TALLY_MAX_BACKLOG_BLOCKS": "40"}

    def services(server: Server, name: str) -> tuple[Process, Process]:
        ingestor, aggregator = (
            Process(*arguments, log=tmp_path / f"{name}-{arguments[0]}.log", TALLY_REDIS_URL=server.url, **variables)
            for arguments in (("ingestor", f"tail:{path}"), ("aggregator",))
        )
        return ingestor, aggregator

    def events(client: redis.Redis) -> int:
        found: Any = client.hget(KEYS.totals, "events")
        return int(found or 0)

    with running(*services(durable_server, "before")), durable_server.client() as client:
        wait_until(lambda: events(client) > 0, what="counting has begun")
        back_up(client, durable_server.folder, copy)
        with path.open("ab") as file:
            file.writelines(_lines(LINES, LINES + 1000))
        wait_until(lambda: events(client) == LINES + 1000, what="all is counted where the backup was taken")

    restored = Server(copy, durable=True)
    restored.start()
    try:
        with restored.client() as client:
            assert events(client) <= LINES, "it is as of then"
        # A start of the server more, which applies what it may have left of a script that the copy ends in.
        with running(*services(restored, "after")), restored.client() as client:
            wait_until(lambda: events(client) >= LINES + 1000, what="all is counted where it was put back")
        restored.stop()
        restored.start()
        with restored.client() as client:
            assert Expected.of(_lines(0, LINES + 1000)).difference(counted(client)) == ""
            assert client.xlen(KEYS.stream) == 0
    finally:
        restored.kill()
