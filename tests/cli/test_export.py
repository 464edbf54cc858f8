"""`tally export`: what it writes is whole, or not there; and appends go on, however it ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tally.export_files import opened
from tally.export_records import Counts, Header, Record, Totals
from tally.exports import records_of
from tally.keys import GROUP, Keys
from tally.settings import Settings
from tally.store import connect
from tests.cli.commands import assert_refused, tally
from tests.processes import module
from tests.server import Server
from tests.sharded import Sharded
from tests.waiting import wait_until

EVENTS = b'{"event_type":"order","data":"two words"}\n' * 3


@pytest.fixture
def counted(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server with three events in it, which is that of the settings."""
    monkeypatch.setenv("TALLY_REDIS_URL", server.url)
    asyncio.run(_count(server))
    return server


async def _count(server: Server) -> None:
    async with connect(server.url, timeout_seconds=30) as redis:
        sharded = Sharded(redis, Settings(), now=1_700_000_000)
        await sharded.begin()
        await sharded.count(EVENTS.splitlines(), shard=0)


def add_what_nobody_counts(server: Server) -> None:
    with server.client() as client:
        client.xadd(Keys().stream, {"lines": EVENTS})
        client.xgroup_destroy(Keys().stream, GROUP)


def records(path: Path) -> list[Record]:
    with opened(path) as lines:
        return list(records_of(lines))


def may_append(server: Server) -> bool:
    """Whether nobody has the lease."""
    with server.client() as client:
        return client.hget(Keys().backlog, "lease") is None


def test_a_file_is_named_by_the_namespace_and_the_time(counted: Server, tmp_path: Path) -> None:
    done = tally("export")

    assert done.returncode == 0, done.stderr
    (path,) = (each for each in tmp_path.iterdir() if each.name.startswith("tally-"))
    assert re.fullmatch(r"tally-\d{8}T\d{6}Z\.ndjson\.zst", path.name)
    assert "names of namespace tally in" in done.stderr
    assert path.name in done.stderr
    header, *found = records(path)
    assert isinstance(header, Header)
    assert (header.namespace, header.shards, header.stripe_bytes) == ("tally", 1, None)
    all_time = {each.table: each.counts for each in found if isinstance(each, Counts) and not each.length}
    assert (all_time["types"], all_time["words"]) == ({"order": 3}, {"two": 3, "words": 3})
    assert next(each for each in found if isinstance(each, Totals)).fields["events"] == 3
    assert may_append(counted)


def test_a_folder_gets_that_file_and_a_file_that_is_there_stays(counted: Server, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    assert tally("export", str(folder)).returncode == 0
    (path,) = folder.iterdir()
    before = path.read_bytes()

    assert_refused(tally("export", str(path)), 2, f"{path} is there already", "--force")
    assert path.read_bytes() == before
    assert tally("export", str(path), "--force").returncode == 0
    assert records(path)[1:] == records_of_bytes(before, tmp_path)[1:]


def records_of_bytes(content: bytes, folder: Path) -> list[Record]:
    path = folder / "copy"
    path.write_bytes(content)
    return records(path)


def test_standard_output_gets_the_export_and_nothing_else(counted: Server, tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("wb") as out:
        done = subprocess.run(module("tally", "export", "-"), stdout=out, stderr=subprocess.PIPE, check=True)

    assert b"standard output" in done.stderr
    assert len(records(path)) > 5


@pytest.mark.parametrize("into", ["/dev/full", "a pipe that nobody reads"])
def test_where_it_cannot_be_written_that_is_one_sentence(counted: Server, into: str) -> None:
    if into == "/dev/full":
        out = os.open(into, os.O_WRONLY)
    else:
        reading, out = os.pipe()
        os.close(reading)
    done = subprocess.run(module("tally", "export", "-"), stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    os.close(out)

    assert done.returncode == 1
    assert re.search(
        "standard output cannot be written: (No space left on device|nobody reads it any more)", done.stderr
    )
    assert "Traceback" not in done.stderr
    assert may_append(counted)


def test_what_nobody_counts_is_not_exported(counted: Server, tmp_path: Path) -> None:
    add_what_nobody_counts(counted)

    assert_refused(tally("export", "out", "--wait", "0.2"), 1, "1 blocks still wait", "no aggregator")
    assert not list(tmp_path.glob("out*"))
    assert may_append(counted)


def test_a_namespace_of_which_nothing_is_known_is_most_likely_a_wrong_one(counted: Server, tmp_path: Path) -> None:
    refused = tally("export", "out", env={"TALLY_NAMESPACE": "shop"})

    assert_refused(refused, 1, "nothing was ever counted in namespace shop")
    assert not list(tmp_path.glob("out*"))
    with counted.client() as client:
        assert not client.keys("shop:*")


@contextmanager
def stuck(server: Server, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run an export that waits for what nobody counts, until the lease is held."""
    add_what_nobody_counts(server)
    command = module("tally", "export", *arguments, "--wait", "600")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: not may_append(server), what="the lease is held")
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_stopped_leaves_nothing_and_gives_the_lease_back(
    counted: Server, tmp_path: Path, how: signal.Signals
) -> None:
    with stuck(counted, "out") as process:
        assert (tmp_path / "out.partial").exists()
        process.send_signal(how)
        _, said = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "stopped: nothing was written, and appends go on" in said
    assert "Traceback" not in said
    assert not list(tmp_path.glob("out*"))
    assert may_append(counted)


def test_one_whose_pipe_nobody_reads_ends_at_a_signal_all_the_same(counted: Server) -> None:
    with counted.client() as client:
        client.hset(Keys().words, mapping={sha256(b"%d" % number).hexdigest(): 1 for number in range(40_000)})
    reading, writing = os.pipe()
    command = module("tally", "export", "-")
    with subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE, text=True) as process:
        os.close(writing)
        try:
            wait_until(lambda: _readable(reading) >= 60_000, what="the pipe is full")
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
            os.close(reading)

    assert process.returncode == 1
    assert "stopped: a part of it was written, and appends go on" in said
    assert may_append(counted)


def _readable(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_one_that_was_killed_is_no_obstacle(counted: Server, tmp_path: Path) -> None:
    with stuck(counted, "out") as process:
        process.kill()
        process.wait(60)
    assert (tmp_path / "out.partial").exists()
    assert_refused(tally("export", "out"), 1, "export")
    with counted.client() as client:
        fields: Any = client.hget(Keys().backlog, "lease")
        token, since, _ = fields.split(":")
        client.hset(Keys().backlog, "lease", f"{token}:{since}:{int(since) + 1}")  # half a minute goes by
        client.delete(Keys().stream)

    assert tally("export", "out").returncode == 0
    assert len(records(tmp_path / "out")) > 5
    assert not list(tmp_path.glob("*.partial"))
