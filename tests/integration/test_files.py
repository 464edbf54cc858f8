"""Compressed files, folders and patterns, several sources at once: every line once, whatever is killed or broken."""

from __future__ import annotations

import gzip
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestor.log_events import FILES_FORGOTTEN, SOURCE_FAILED
from tally.generator import Generator, GeneratorSpec
from tally.keys import Keys
from tests.oracle import Expected, counted
from tests.packing import PACK
from tests.processes import Process, running
from tests.server import Server
from tests.stream import Stream
from tests.waiting import wait_until

BLOCKS_A_LIFE = 100
SMALL = {
    "TALLY_MAX_BLOCK_BYTES": "2048",
    "TALLY_MAX_BLOCKS_IN_FLIGHT": "1",
    "TALLY_MAX_BACKLOG_BLOCKS": str(2 * BLOCKS_A_LIFE),  # of which files leave half
}


def some_lines(count: int, seed: int) -> list[bytes]:
    text = b"".join(Generator(GeneratorSpec(count=count, seed=seed, corrupt=0.05)).lines())
    return [line + b"\n" for line in text[:-1].split(b"\n")]


@pytest.fixture
def stream(server: Server) -> Iterator[Stream]:
    stream = Stream(server.port)
    yield stream
    stream.close()


def ingestor(*sources: str, server: Server, folder: Path, **variables: str) -> Process:
    """An ingestor that finds room for all that is read here, which no aggregator counts meanwhile."""
    variables = {"TALLY_REDIS_URL": server.url, "TALLY_BULK_BACKLOG_BYTES": str(256 << 20), **variables}
    return Process("ingestor", *sources, log=folder / "ingestor.log", **variables)


def kill_at_random_until_it_ends(process: Process, stream: Stream, *, kills: int, seed: int) -> None:
    """Each time it is killed after a random number of blocks.

    Nobody counts, and each life has room for so many blocks more, and the last for all: so it cannot come to its end
    before it was killed, however fast it is.
    """
    chance = random.Random(seed)
    for life in range(1, kills + 1):
        enough = chance.randint(stream.blocks() + 1, life * BLOCKS_A_LIFE)
        wait_until(lambda enough=enough: stream.blocks() >= enough, what=f"{enough} blocks are appended")  # type: ignore[misc]
        assert process.kill()
        room = (life + 1) * BLOCKS_A_LIFE if life < kills else 100_000
        process.start(TALLY_MAX_BACKLOG_BLOCKS=str(2 * room))
    assert process.wait() == 0, process.log()


@pytest.mark.parametrize("suffix", sorted(PACK))
def test_a_compressed_file_goes_on_where_it_was_killed(
    server: Server, stream: Stream, tmp_path: Path, suffix: str
) -> None:
    lines = some_lines(20_000, seed=3)
    path = tmp_path / f"events.ndjson.{suffix}"
    path.write_bytes(PACK[suffix](b"".join(lines)))
    process = ingestor(str(path), server=server, folder=tmp_path, **SMALL)
    with running(process):
        kill_at_random_until_it_ends(process, stream, kills=2, seed=ord(suffix[0]))
    assert stream.difference(lines) == ([], [])
    assert list(stream.positions().values()) == [sum(map(len, lines))]


@pytest.mark.slow
def test_an_archive_that_is_cut_off_gives_what_is_there_and_goes_on_when_it_is_whole(
    server: Server, stream: Stream, tmp_path: Path
) -> None:
    folder = tmp_path / "archives"
    folder.mkdir()
    # Random text, or so little would be left after packing that the break is at its start.
    lines = [b"%x\n" % random.Random(at).getrandbits(2000) for at in range(24_000)]
    archives = {}
    for at, (suffix, pack) in enumerate(PACK.items()):
        path = folder / f"{suffix}.{suffix}"
        archives[path] = pack(b"".join(lines[at * 8000 : (at + 1) * 8000]))
        path.write_bytes(archives[path][: len(archives[path]) * 2 // 3])
    process = ingestor(str(folder), server=server, folder=tmp_path)
    with running(process):
        assert process.wait() == 1
        for path, whole in archives.items():
            assert f"{path}: the archive is cut off" in process.log()
            path.write_bytes(whole)
        missing, too_many = stream.difference(lines)
        assert 0 < len(missing) < len(lines) * 2 / 3
        assert too_many == []
        process.start()
        assert process.wait() == 0, process.log()
    assert stream.difference(lines) == ([], [])


@pytest.mark.slow
def test_a_corrupt_archive_is_an_error_and_what_is_before_the_damage_is_taken(
    server: Server, stream: Stream, tmp_path: Path
) -> None:
    lines = [b"%x\n" % random.Random(at).getrandbits(2000) for at in range(8000)]
    for suffix, pack in PACK.items():
        packed = bytearray(pack(b"".join(lines)))
        packed[len(packed) * 3 // 4 : len(packed) * 3 // 4 + 64] = bytes(64)
        (tmp_path / f"events.{suffix}").write_bytes(packed)
    process = ingestor(str(tmp_path / "events.*"), server=server, folder=tmp_path)
    with running(process):
        assert process.wait() == 1
    for suffix in PACK:
        assert f"events.{suffix}: the archive is corrupt" in process.log()
    assert stream.difference(lines[:3000] * 3)[0] == []


@pytest.mark.slow
@pytest.mark.parametrize("what", ["folder", "pattern"])
def test_the_files_of_a_folder_or_a_pattern_are_read_one_after_the_other(
    server: Server, stream: Stream, tmp_path: Path, what: str
) -> None:
    folder = tmp_path / "many"
    (folder / "below").mkdir(parents=True)
    lines = some_lines(24_000, seed=5)
    for name, part in (
        ("c.ndjson", lines[:8_000]),
        ("a.ndjson.gz", lines[8_000:16_000]),
        ("b.ndjson", lines[16_000:]),
    ):
        text = b"".join(part)
        (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    (folder / ".hidden.ndjson").write_bytes(b"not ours\n")
    (folder / "below" / "d.ndjson").write_bytes(b"not ours\n")
    source = folder / "*.ndjson*" if what == "pattern" else folder
    process = ingestor(str(source), server=server, folder=tmp_path, **SMALL)
    with running(process):
        kill_at_random_until_it_ends(process, stream, kills=3, seed=1)
        assert stream.difference(lines) == ([], [])
        found = stream.lines()
        first = [line.rstrip(b"\n") for line in lines]
        assert found == first[8_000:16_000] + first[16_000:] + first[:8_000], "in the order of their names"
        process.start()
        assert process.wait() == 0
    assert len(stream.lines()) == len(lines), "a second run finds nothing new"
    drain = Process("aggregator", "--drain", log=tmp_path / "drain.log", TALLY_REDIS_URL=server.url)
    with running(drain), server.client() as client:
        assert drain.wait() == 0, drain.log()
        assert counted(client) == Expected.of(lines)


@pytest.mark.parametrize("suffix", ["", *sorted(PACK)])
def test_each_file_that_is_put_in_the_place_of_one_like_it_is_read_whole(
    server: Server, stream: Stream, tmp_path: Path, suffix: str
) -> None:
    """They begin with the same kilobyte. Who removes a file after exit code 0 loses nothing."""
    path = tmp_path / ("events.ndjson" + (suffix and f".{suffix}"))
    header = b'{"event_type": "export", "data": "%s"}\n' % (b"x" * 1100)
    lines = some_lines(1_200, seed=11)
    process = ingestor(str(path), server=server, folder=tmp_path, **SMALL)
    written: list[bytes] = []
    for part in (lines[:300], lines[300:400], lines[400:], lines[:300]):
        written += [] if part == lines[:300] and written else [header, *part]
        text = b"".join((header, *part))
        path.write_bytes(PACK[suffix](text) if suffix else text)
        with running(process):
            assert process.wait() == 0, process.log()
        path.unlink()
        assert stream.difference(written) == ([], [])
    text = b"".join((header, *lines[400:], *lines[:50]))
    path.write_bytes(PACK[suffix](text) if suffix else text)
    with running(process):
        assert process.wait() == 0, process.log()
    assert stream.difference(written + lines[:50]) == ([], []), "one that has grown goes on"


def test_a_file_that_is_replaced_while_it_is_read_is_read_and_so_is_its_successor(
    server: Server, stream: Stream, tmp_path: Path
) -> None:
    lines = some_lines(20_000, seed=12)
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"".join(lines[:15_000]))
    (tmp_path / "next").write_bytes(b"".join(lines[15_000:]))
    process = ingestor(str(path), server=server, folder=tmp_path, **SMALL)
    with running(process):
        wait_until(lambda: stream.blocks() >= BLOCKS_A_LIFE, what="the stream is full before all is read")
        (tmp_path / "next").rename(path)

        def has_ended() -> bool:
            stream.take()
            return process.exit_code is not None

        wait_until(has_ended, what="all is read", seconds=120)
        assert process.exit_code == 0, process.log()
    assert stream.difference(lines) == ([], [])


def test_a_file_that_was_cut_down_since_is_read_from_its_start_and_that_is_said(
    server: Server, stream: Stream, tmp_path: Path
) -> None:
    lines = some_lines(200, seed=13)
    path = tmp_path / "events.ndjson"
    process = ingestor(str(path), server=server, folder=tmp_path)
    for part in (lines, lines[:150]):
        path.write_bytes(b"".join(part))
        with running(process):
            assert process.wait() == 0, process.log()
    assert "begins like one that was read before" in process.log()
    assert stream.difference(lines + lines[:150]) == ([], [])


def test_a_position_without_a_fingerprint_is_gone_on_from(server: Server, stream: Stream, tmp_path: Path) -> None:
    """As it was stored before fingerprints were kept."""
    lines = some_lines(200, seed=14)
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"".join(lines[:100]))
    process = ingestor(str(path), server=server, folder=tmp_path)
    with running(process), server.client() as client:
        assert process.wait() == 0, process.log()
        client.delete(Keys().sources_last, Keys().sources_names)
        path.write_bytes(b"".join(lines))
        process.start()
        assert process.wait() == 0, process.log()
    assert stream.difference(lines) == ([], [])


def test_a_file_and_links_to_it_are_read_once(server: Server, stream: Stream, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    lines = some_lines(20_000, seed=9)
    (folder / "2026-01-01.ndjson").write_bytes(b"".join(lines))
    (folder / "current").symlink_to("2026-01-01.ndjson")
    spelled = folder / ".." / "logs" / "2026-01-01.ndjson"
    process = ingestor(str(folder), str(spelled), str(folder / "current"), server=server, folder=tmp_path, **SMALL)
    with running(process):
        kill_at_random_until_it_ends(process, stream, kills=2, seed=2)
    assert stream.difference(lines) == ([], [])
    assert list(stream.positions().values()) == [sum(map(len, lines))]


def test_a_file_that_cannot_be_read_does_not_keep_the_others_of_its_folder_from_being_read(
    server: Server, stream: Stream, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    lines = some_lines(100, seed=6)
    (folder / "a.gz").write_bytes(b"this is not gzip")
    (folder / "b.log").write_bytes(b"".join(lines))
    process = ingestor(str(folder), server=server, folder=tmp_path)
    with running(process):
        assert process.wait() == 1
    assert f"source {folder}: {folder / 'a.gz'}: the archive is corrupt (gz: Not a gzipped file" in process.log()
    assert stream.difference(lines) == ([], [])


def test_nothing_to_read_is_an_error_at_once(server: Server, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    process = ingestor(str(tmp_path / "empty"), f"{tmp_path}/*.nothing", server=server, folder=tmp_path)
    with running(process):
        assert process.wait() == 2
    assert f"no file in the folder '{tmp_path}/empty'" in process.log()
    assert f"no file matches '{tmp_path}/*.nothing'" in process.log()


def test_of_several_sources_each_fails_and_comes_back_by_itself(server: Server, stream: Stream, tmp_path: Path) -> None:
    lines, other = some_lines(500, seed=7), some_lines(300, seed=8)
    archive = tmp_path / "late.gz"
    archive.write_bytes(b"not yet")
    (tmp_path / "fine.log").write_bytes(b"".join(lines))
    followed = tmp_path / "followed.log"
    followed.touch()
    sources = json.dumps([str(tmp_path / "fine.log"), str(archive), f"tail:{followed}"])
    process = ingestor(server=server, folder=tmp_path, TALLY_SOURCE=sources)
    with running(process):
        wait_until(lambda: SOURCE_FAILED in process.log(), what="the archive was tried")
        wait_until(lambda: stream.difference(lines) == ([], []), what="the file is read all the same")
        archive.write_bytes(gzip.compress(b"".join(other)))
        wait_until(lambda: stream.difference(lines + other) == ([], []), what="the archive came back")
        followed.write_bytes(b"".join(lines))
        wait_until(lambda: stream.difference(lines + other + lines) == ([], []), what="the tail is followed still")
        assert process.stop() == 0, process.log()


def test_the_exit_code_tells_when_one_of_several_sources_failed(server: Server, stream: Stream, tmp_path: Path) -> None:
    lines = some_lines(500, seed=7)
    (tmp_path / "broken.gz").write_bytes(b"not gzip")
    (tmp_path / "fine.log").write_bytes(b"".join(lines))
    process = ingestor(str(tmp_path / "broken.gz"), str(tmp_path / "fine.log"), server=server, folder=tmp_path)
    with running(process):
        assert process.wait() == 1
    assert "tally: source" in process.log()
    assert "broken.gz: the archive is corrupt" in process.log()
    assert stream.difference(lines) == ([], [])


def test_of_very_many_positions_only_those_that_are_asked_for_are_read(
    server: Server, stream: Stream, tmp_path: Path
) -> None:
    lines = some_lines(30, seed=15)
    folder = tmp_path / "spool"
    folder.mkdir()
    for at in range(10):
        (folder / f"{at}.ndjson").write_bytes(b"".join(lines[at * 3 : at * 3 + 3]))
    process = ingestor(str(folder), server=server, folder=tmp_path)
    finished = {f"file:/spool/{at:05}.ndjson#60-{at:016x}": 60 for at in range(20_000)}
    with running(process), server.client() as client:
        assert process.wait() == 0, process.log()
        for run in ("lists the names of before, once", "and then"):
            client.hset(Keys().sources, mapping=finished)
            client.zadd(Keys().sources_seen, dict.fromkeys(finished, 1))
            before = int(client.info("stats")["total_net_output_bytes"])
            process.start()
            assert process.wait() == 0, process.log()
            sent = int(client.info("stats")["total_net_output_bytes"]) - before
            assert sent < 300_000, f"{run}: all of them are {len(str(finished))} bytes"
        assert stream.difference(lines) == ([], [])


def test_a_file_that_is_opened_is_not_forgotten_and_others_are_if_that_is_wanted(
    server: Server, stream: Stream, tmp_path: Path
) -> None:
    lines = some_lines(200, seed=16)
    folder = tmp_path / "archive"
    folder.mkdir()
    for name, part in (("a", lines[:100]), ("b", lines[100:])):
        (folder / name).write_bytes(b"".join(part))
    seen = Keys().sources_seen
    process = ingestor(str(folder), server=server, folder=tmp_path)

    def run_after_a_month(*files: str, **variables: str) -> None:
        names: list[str] = client.zrange(seen, 0, -1)
        month_ago = (time.time() - 30 * 86_400) * 1000
        for name in names:
            if Path(name.partition("#")[0]).name in files:
                client.zadd(seen, {name: month_ago})
        process.start(**variables)
        assert process.wait() == 0, process.log()

    with running(process), server.client() as client:
        assert process.wait() == 0, process.log()
        for _ in range(2):
            run_after_a_month("a", "b")
        assert stream.difference(lines) == ([], []), "by default nothing is forgotten"
        run_after_a_month(TALLY_FORGET_FILES_AFTER_DAYS="20")
        assert stream.difference(lines) == ([], []), "both were opened by the last run"
        run_after_a_month("b")
        assert stream.difference(lines + lines[100:]) == ([], [])
        assert FILES_FORGOTTEN in process.log()
