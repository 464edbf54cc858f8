"""`tally forget` and `tally compact` beside running services: what they say, and what is left afterwards."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tally.keys import OTHER, TOP_WORDS, Keys
from tally.shards import tags
from tests.cli.commands import assert_refused, tally
from tests.oracle import Expected, counted
from tests.processes import Process, running
from tests.server import Server
from tests.waiting import wait_until

SHARDS = 2

EACH = [Keys(tag) for tag in tags(SHARDS)]


def lines(first: int, last: int, *, secret: bool) -> list[bytes]:
    """Lines with a word of their own each; some also with what is to be forgotten, some torn."""
    chance = random.Random(first)
    made = []
    for at in range(first, last):
        event = {"event_type": f"type-{at % 3}", "data": f"often id-{at} w{int(chance.expovariate(0.02))}"}
        if secret and at % 2:
            event["data"] += " S\u00e9cret-word"
        if secret and at % 5 == 0:
            event["event_type"] = "s\u00e9cret.type"
        text = json.dumps(event, ensure_ascii=at % 4 == 0).encode()
        made.append(text[:-9] if at % 50 == 7 else text)
    return made


def append(path: Path, made: list[bytes]) -> None:
    with path.open("ab") as file:
        file.writelines(each + b"\n" for each in made)


def forgotten(expected: Expected) -> Expected:
    words, types = Counter(expected.words), Counter(expected.types)
    words[OTHER] += words.pop("S\u00e9cret-word")
    types[OTHER] += types.pop("s\u00e9cret.type")
    return Expected(types, words, expected.events, expected.rejected)


def found(server: Server) -> Expected:
    with server.client() as client:
        one, another = (counted(client, keys) for keys in EACH)
    return one + another


def files_with(folder: Path, *texts: bytes) -> list[str]:
    files = [each for each in folder.rglob("*.aof") if each.is_file()] + list(folder.rglob("*.rdb"))
    return [each.name for each in files if any(text in each.read_bytes() for text in texts)]


def test_beside_running_services_names_are_forgotten_and_compacted(durable_server: Server, tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    before, meanwhile = lines(0, 6000, secret=True), lines(6000, 20_000, secret=False)
    append(path, before)
    variables = {
        "TALLY_REDIS_URL": durable_server.url,
        "TALLY_SHARDS": str(SHARDS),
        "TALLY_STRIPE_BYTES": "20000",
        "TALLY_MAX_BLOCK_BYTES": "5000",
        "TALLY_WORDS_BY_TYPE": "3",
        "TALLY_ACCEPTED_SAMPLES": "50",
    }
    expected = Expected.of(before)
    services = [
        Process(*arguments, log=tmp_path / f"{arguments[0]}.log", **variables)
        for arguments in (("ingestor", f"tail:{path}"), ("aggregator",))
    ]
    command = Process(
        "tally",
        "forget",
        "--word",
        "S\u00e9cret-word",
        "--type",
        "s\u00e9cret.type",
        "--yes",
        log=tmp_path / "forget.log",
        **variables,
    )
    names = (b"cret-word", b"cret.type")
    with running(*services):
        wait_until(lambda: found(durable_server).events == expected.events, what="what holds it is counted")
        assert files_with(durable_server.folder, *names)
        with running(command):
            for first in range(0, len(meanwhile), 500):
                append(path, meanwhile[first : first + 500])
                time.sleep(0.02)  # so that it comes while names are forgotten
            assert command.wait() == 0, command.log()
        assert files_with(durable_server.folder, *names) == []
        assert_refused(
            tally("forget", "--word", "S\u00e9cret-word", "--yes", env=variables),
            1,
            "was never counted, or is forgotten",
        )
        expected = forgotten(expected + Expected.of(meanwhile))
        wait_until(lambda: found(durable_server).events == expected.events, what="all is counted")
        assert expected.difference(found(durable_server)) == ""
        with durable_server.client() as client:
            for keys in EACH:
                assert not any("cret" in json.dumps(client.xrange(each)) for each in (keys.rejected, keys.accepted))

        rare = [word for word, count in expected.words.items() if count < 3 and word != OTHER]
        told = tally("compact", "--under", "3", "--dry-run", env=variables)
        assert (told.returncode, f"{len(rare):,} words were counted fewer than 3 times" in told.stdout) == (0, True)
        assert expected.difference(found(durable_server)) == ""
        done = tally("compact", "--under", "3", "--kind", "all", "--yes", env=variables)
        assert done.returncode == 0, done.stderr
        assert f"{len(rare):,} words were moved to {OTHER}" in done.stdout
        assert "0 types were moved" in done.stdout
        for word in rare:
            expected.words[OTHER] += expected.words.pop(word)
        assert expected.difference(found(durable_server)) == ""


@pytest.mark.slow
def test_forget_may_be_killed_at_any_time(durable_server: Server, tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    made = [
        each[:-1] + b', "timestamp": %d}' % (1_700_000_000 + 90 * at)
        for at, each in enumerate(lines(0, 8000, secret=True))
    ]
    append(path, made)
    expected = Expected.of(made)
    variables = {
        "TALLY_REDIS_URL": durable_server.url,
        "TALLY_SHARDS": str(SHARDS),
        "TALLY_STRIPE_BYTES": "20000",
        "TALLY_WORDS_BY_TYPE": "3",
    }
    for arguments in (("ingestor", str(path)), ("aggregator", "--drain")):
        counts = Process(*arguments, log=tmp_path / f"{arguments[0]}.log", **variables)
        with running(counts):
            assert counts.wait() == 0, counts.log()
    assert expected.difference(found(durable_server)) == ""
    names = ("--word", "S\u00e9cret-word", "--type", "s\u00e9cret.type", "--yes")
    command = Process("tally", "forget", *names, log=tmp_path / "forget.log", **variables)
    chance, kills = random.Random(1), 0
    with durable_server.client() as client:
        for _ in range(8):
            command.start()
            wait_until(
                lambda: command.exit_code is not None or client.hexists(EACH[0].backlog, "lease"),
                what="it holds appends, or has ended",
            )
            time.sleep(chance.uniform(0, 0.2))  # when the kill comes is what is random here
            kills += command.kill()
            for keys in (Keys(), *EACH):
                client.hdel(keys.backlog, "lease")  # as if it had ended by itself
        assert kills, "it was always faster"
        command.start()
        assert command.wait() in (0, 1), command.log()
        assert command.exit_code == 0 or "is forgotten" in command.log()
        assert not any(client.hexists(keys.backlog, "forgotten") for keys in EACH)
    assert forgotten(expected).difference(found(durable_server)) == ""
    assert files_with(durable_server.folder, b"cret-word", b"cret.type") == []


def test_compact_may_be_killed_at_any_time_while_words_come(durable_server: Server, tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.touch()
    variables = {"TALLY_REDIS_URL": durable_server.url, "TALLY_SHARDS": str(SHARDS), "TALLY_MAX_WORDS": "2000"}
    chance = random.Random(1)
    services = [
        Process(*arguments, log=tmp_path / f"{arguments[0]}.log", **variables)
        for arguments in (("ingestor", f"tail:{path}"), ("aggregator",))
    ]
    command = Process("tally", "compact", "--under", "4", "--yes", log=tmp_path / "compact.log", **variables)
    written: list[bytes] = []
    with running(*services):
        for turn in range(8):
            more = lines(turn * 2000, (turn + 1) * 2000, secret=False)
            append(path, more)
            written += more
            command.start()
            half = len(written) // 2
            wait_until(lambda half=half: found(durable_server).events > half, what="some of it is counted")  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.3))  # when the kill comes is what is random here
            command.kill()
        expected = Expected.of(written)
        wait_until(lambda: found(durable_server).events == expected.events, what="all is counted")
        command.start()
        assert command.wait() == 0, command.log()
    now = found(durable_server)
    assert (now.types, now.rejected) == (expected.types, expected.rejected)
    assert now.words.total() == expected.words.total(), "each is counted once, by its name or not"
    assert all(count <= expected.words[word] for word, count in now.words.items() if word != OTHER)
    assert now.words["often"] == expected.words["often"]
    assert not any(count < 4 for count in now.words.values())
    assert len(now.words) > 100
    with durable_server.client() as client:
        for keys in EACH:
            words = {name: int(count) for name, count in client.hgetall(keys.words).items() if name != OTHER}
            top = client.zrange(keys.top, 0, -1, withscores=True, desc=True)
            assert [count for _, count in top] == sorted(words.values(), reverse=True)[:TOP_WORDS]
            assert all(words[name] == count for name, count in top)


def test_what_is_gone_for_good_is_asked_for(server: Server) -> None:
    url = {"TALLY_REDIS_URL": server.url}
    assert_refused(tally("forget", env=url), 2, "--word WORD or --type TYPE")
    assert_refused(tally("forget", "--word", "x", env=url), 2, "add --yes")
    assert_refused(tally("forget", "--type", OTHER, "--yes", env=url), 2, "cannot be forgotten")
    assert_refused(tally("forget", "--word", "caf\udce9", "--yes", env=url), 2, "is not UTF-8")
    assert_refused(tally("compact", "--under", "5", env=url), 2, "add --yes")
    assert tally("compact", "--under", "1", "--yes", env=url).returncode == 2


@pytest.mark.parametrize("arguments", [("forget", "--word", "x", "--yes"), ("compact", "--under", "5", "--yes")])
def test_a_user_who_may_not_is_told_before_anything_is_changed(server: Server, arguments: tuple[str, ...]) -> None:
    with server.client() as client:
        client.hset(EACH[0].words, "x", 1)
        client.execute_command("ACL", "SETUSER", "less", "on", ">secret", "~tally:*", "+@all", "-hdel")
        try:
            url = {"TALLY_REDIS_URL": server.url.replace("://", "://less:secret@")}
            assert_refused(tally(*arguments, env=url), 1, "does not allow the user of TALLY_REDIS_URL to run HDEL")
        finally:
            client.execute_command("ACL", "DELUSER", "less")
        assert client.hgetall(EACH[0].words) == {"x": "1"}
