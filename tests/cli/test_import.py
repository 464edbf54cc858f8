"""`tally import`: what `tally export` has written comes in whole, once, and what it has not written does no harm."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tally.archives import zstd
from tally.keys import Keys
from tally.settings import Settings
from tally.store import connect
from tests.cli.commands import assert_refused, tally
from tests.exports import Export, everything
from tests.processes import module
from tests.server import Server
from tests.sharded import Sharded
from tests.waiting import wait_until

SETTINGS = Settings()

COMPACT = ("compact", "--under", "3", "--yes")


@pytest.fixture
def empty(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """An empty server, which is that of the settings."""
    monkeypatch.setenv("TALLY_REDIS_URL", server.url)
    return server


def export(path: Path, *, names: int = 12) -> Export:
    """Write an export that was made elsewhere."""
    made = Export(everything(SETTINGS, names=names), SETTINGS)
    options: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
    path.write_bytes(zstd.compress(b"".join(made.lines), options=options))
    return made


def changed(path: Path, line: int, record: Any) -> None:
    """Put another record into an export, and make its end right again."""
    lines = Export(everything(SETTINGS), SETTINGS).lines[:-1]
    lines[line] = msgspec.json.encode(record) + b"\n"
    digest = sha256(b"".join(lines)).hexdigest()
    end = {"is": "end", "records": len(lines), "sha256": digest}
    path.write_bytes(b"".join(lines) + msgspec.json.encode(end) + b"\n")


def is_untouched(server: Server) -> bool:
    with server.client() as client:
        return not client.keys("*")


def test_a_namespace_moves_to_another_one(empty: Server, tmp_path: Path) -> None:
    asyncio.run(_count(empty))
    assert tally("export", "out.zst").returncode == 0
    before = everything_in(empty, "tally:*")

    done = tally("import", "out.zst", env={"TALLY_NAMESPACE": "there"})
    assert done.returncode == 0, done.stderr
    assert "names of namespace tally into there in" in done.stderr
    assert everything_in(empty, "tally:*") == before
    assert counts_of(empty, "there") == counts_of(empty, "tally")
    assert_refused(
        tally("import", "out.zst", env={"TALLY_NAMESPACE": "there"}), 1, "this export is here already, since"
    )

    given = (tmp_path / "out.zst").read_bytes()
    assert tally("import", "-", given=given, env={"TALLY_NAMESPACE": "third"}).returncode == 0
    assert counts_of(empty, "third") == counts_of(empty, "tally")


async def _count(server: Server) -> None:
    async with connect(server.url, timeout_seconds=30) as redis:
        sharded = Sharded(redis, SETTINGS, now=1_700_000_000)
        await sharded.begin()
        await sharded.count([b'{"event_type":"order","data":"two words"}', b"garbage"], shard=0)


def everything_in(server: Server, pattern: str) -> dict[str, Any]:
    with server.client() as client:
        return {key: client.type(key) for key in client.keys(pattern)}


def counts_of(server: Server, namespace: str) -> dict[str, Any]:
    keys = Keys(namespace=namespace)
    others = {keys.backlog, keys.imports, keys.layout, keys.sources}
    with server.client() as client:
        hashes = {key for key in client.keys(f"{namespace}:*") if client.type(key) == "hash"}
        return {key.removeprefix(namespace): client.hgetall(key) for key in hashes - others}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b'{"event_type":"order","data":"two words"}\n', "it is no export of Tally"),
        (b"PK\x03\x04" + bytes(100), "not an export"),
    ],
)
def test_what_is_no_export_is_said_to_be_none(empty: Server, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "file").write_bytes(content)
    assert_refused(tally("import", "file"), 1, said)
    assert is_untouched(empty)


def test_a_file_that_is_cut_or_corrupt_does_no_harm(empty: Server, tmp_path: Path) -> None:
    export(tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(content[:-20])
    assert_refused(tally("import", "cut"), 1, "cut")
    broken = bytearray(content)
    broken[len(broken) // 2] ^= 1
    (tmp_path / "broken").write_bytes(broken)
    assert_refused(tally("import", "broken"), 1, "broken: the archive is corrupt")
    plain = b"".join(Export(everything(SETTINGS), SETTINGS).lines)
    (tmp_path / "changed").write_bytes(plain.replace(b'"w3":4', b'"w3":5', 1))
    assert_refused(tally("import", "changed"), 1, "it was changed after it was written")
    (tmp_path / "short").write_bytes(plain[: plain.rindex(b"\n", 0, -1) + 1])
    assert_refused(tally("import", "short"), 1, "its end is missing")
    assert is_untouched(empty)


@pytest.mark.parametrize("count", [-1, 1.5, "7", None, (1 << 53) + 1])
def test_numbers_that_are_no_counts_are_refused_with_their_line(empty: Server, tmp_path: Path, count: Any) -> None:
    line = next(at for at, each in enumerate(Export(everything(SETTINGS), SETTINGS).lines) if b'"counts"' in each)
    record = {"is": "counts", "shard": 0, "table": "words", "length": 0, "start": 0, "counts": {"x": count}}
    changed(tmp_path / "file", line, record)
    assert_refused(tally("import", "file"), 1, f"line {line + 1}, which Tally 0 wrote,")
    assert is_untouched(empty)


def test_an_export_of_a_newer_format_names_who_wrote_it(empty: Server, tmp_path: Path) -> None:
    changed(tmp_path / "file", 0, {"is": "header", "format": 9, "tally": "7.1"})
    assert_refused(tally("import", "file"), 1, "format 9, written by Tally 7.1")
    assert is_untouched(empty)


def test_other_settings_are_refused_and_named(empty: Server, tmp_path: Path) -> None:
    export(tmp_path / "file")
    refused = tally("import", "file", env={"TALLY_FOLD_CASE": "true", "TALLY_WINDOWS": "60x400,3600x336,86400x400"})
    assert_refused(refused, 2, "TALLY_FOLD_CASE was false, and here it is true")
    assert "TALLY_WINDOWS was" not in refused.stderr  # how many are kept may differ
    assert is_untouched(empty)


def test_one_that_waits_for_another_command_says_so_and_can_be_stopped(empty: Server, tmp_path: Path) -> None:
    made = export(tmp_path / "file")
    with empty.client() as client:
        client.hset(Keys().backlog, "lease", f"export@host-0:0:{1 << 50}")
    with subprocess.Popen(module("tally", "import", "file"), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("another command needs everything to stay as it is" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "stopped: run the same again, and it goes on" in said
    with empty.client() as client:
        client.hdel(Keys().backlog, "lease")
    assert tally("import", "file").returncode == 0
    assert counted(empty) == (made.counts()["words", 0, 0, None], made.totals())


def test_while_one_is_unfinished_nothing_is_exported_forgotten_or_changed(empty: Server, tmp_path: Path) -> None:
    export(tmp_path / "file")
    assert tally("import", "file").returncode == 0
    assert json.loads(tally("status", "--json").stdout)["unfinished_import"] is None
    with empty.client() as client:
        client.hset(Keys().imports, "1" * 32, "7")
    assert f"The import of export {'1' * 32} has begun and not ended" in tally("status").stdout
    said = f"the import of export {'1' * 32} has begun here and not ended"
    for command in (("export", "out"), ("forget", "--word", "w1", "--yes"), ("layout", "--accept"), COMPACT):
        assert_refused(tally(*command), 1, said)


def counted(server: Server) -> tuple[dict[str, int], dict[str, int]]:
    """Words and totals."""
    with server.client() as client:
        words, totals = client.hgetall(Keys().words), client.hgetall(Keys().totals)
    return {name: int(count) for name, count in words.items()}, {name: int(count) for name, count in totals.items()}


def test_one_that_is_killed_again_and_again_counts_everything_once(empty: Server, tmp_path: Path) -> None:
    made = export(tmp_path / "file", names=10_000)
    kills = 0
    for seconds in (0.0, 0.05, 0.1, 0.2, 0.4, 600.0):
        before = progress(empty)
        with subprocess.Popen(module("tally", "import", "file"), stderr=subprocess.DEVNULL) as process:
            try:
                wait_until(lambda: process.poll() is not None or progress(empty) != before, what="it goes on")  # noqa: B023
                process.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
    assert kills
    assert progress(empty).startswith("done:")
    assert counted(empty) == (made.counts()["words", 0, 0, None], made.totals())


def test_what_comes_through_a_pipe_with_a_name_is_read_as_well(empty: Server, tmp_path: Path) -> None:
    made = export(tmp_path / "file")
    done = tally("import", "/dev/stdin", given=(tmp_path / "file").read_bytes())
    assert (done.returncode, counted(empty)) == (0, (made.counts()["words", 0, 0, None], made.totals())), done.stderr


def test_an_export_that_takes_the_place_of_another_in_the_middle_is_not_taken_for_it(
    empty: Server, tmp_path: Path
) -> None:
    made = export(tmp_path / "file")
    other = Export(everything(SETTINGS, names=13), SETTINGS, id_="1" * 32)
    with empty.client() as client:
        client.hset(
            Keys().backlog, "lease", "export@host-0:0:99999999999999"
        )  # it waits for that, behind its first pass
        with subprocess.Popen(module("tally", "import", "file"), stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert "another command needs" in process.stderr.readline()
            (tmp_path / "other").write_bytes(b"".join(other.lines))
            (tmp_path / "other").replace(tmp_path / "file")
            client.hdel(Keys().backlog, "lease")
            said = process.stderr.read()
    assert (process.returncode, counted(empty)) == (0, (made.counts()["words", 0, 0, None], made.totals())), said


def test_one_that_is_written_over_in_the_middle_is_not_gone_on_with(empty: Server, tmp_path: Path) -> None:
    export(tmp_path / "file")
    other = Export(everything(SETTINGS, names=13), SETTINGS, id_="1" * 32)
    with empty.client() as client:
        client.hset(Keys().backlog, "lease", "export@host-0:0:99999999999999")
        with subprocess.Popen(module("tally", "import", "file"), stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert "another command needs" in process.stderr.readline()
            (tmp_path / "file").write_bytes(b"".join(other.lines))
            client.hdel(Keys().backlog, "lease")
            said = process.stderr.read()
    assert (process.returncode, counted(empty)) == (1, ({}, {})), said
    assert "it is another export than a moment ago" in said


def progress(server: Server) -> str:
    with server.client() as client:
        found: Any = client.hget(Keys().imports, "0" * 32)
        return found or ""
