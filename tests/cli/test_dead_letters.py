"""`tally dead-letters`: what it shows, what it moves, and whom it asks before anything is gone."""

from __future__ import annotations

import base64
import json
import os
import pty
import select
import signal
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from tally.keys import Keys
from tally.shards import tags
from tests.cli.commands import TALLY, assert_refused, tally
from tests.oracle import counted
from tests.proxy import LossyProxy
from tests.server import Server

KEYS = Keys()

#: Three lines: an event, garbage that a terminal would obey, an event.
LINES = b'{"event_type":"a","data":"x"}\n\x1b[2Jgarbage\xff\n{"event_type":"b","data":"y"}'


def make(client: Any, keys: Keys = KEYS, *, lines: bytes = LINES, source: str = "file:/var/log/[bold].log") -> str:
    """Put a block among the dead letters as dead_letter.lua does; return its ID there."""
    letter = {"lines": lines, "source": source, "appended_ms": "1600000000123"}
    return str(client.xadd(keys.dead_letters, {**letter, "id": "1600000000456-0", "deliveries": "5"}))


def test_a_dead_letter_is_listed_shown_and_counted_after_all(server: Server) -> None:
    url = {"TALLY_REDIS_URL": server.url}
    assert tally("dead-letters", "list", env=url).stdout == "There are no dead letters.\n"
    assert json.loads(tally("dead-letters", "list", "--json", env=url).stdout) == []
    with server.client() as client:
        letter_id = make(client)
        listed = tally("dead-letters", "list", env={**url, "COLUMNS": "200"}).stdout
        for each in (letter_id, "block", "3", str(len(LINES)), "file:/var/log/[bold].log"):
            assert each in listed
        (found,) = json.loads(tally("dead-letters", "list", "--json", env=url).stdout)
        assert (found["id"], found["kind"], found["lines"], found["block_id"]) == (
            letter_id,
            "block",
            3,
            "1600000000456-0",
        )
        shown = tally("dead-letters", "show", letter_id, "--lines", "2", env=url).stdout
        assert '  {"event_type":"a","data":"x"}\n  �[2Jgarbage�\n  … 1 more lines' in shown
        assert "2020-09-13 12:26:40 UTC" in shown, "when it was appended"
        as_json = json.loads(tally("dead-letters", "show", letter_id, "--json", env=url).stdout)
        assert base64.b64decode(as_json["content_base64"]) == LINES
        assert as_json["text"] == LINES.decode("utf-8", "replace")
        raw = subprocess.run(
            [*TALLY, "dead-letters", "show", letter_id, "--raw"],
            env={**os.environ, **url},
            stdout=subprocess.PIPE,
            check=True,
        )
        assert raw.stdout == LINES + b"\n", "byte for byte, so that `tally check -` can read it"

        done = tally("dead-letters", "retry", letter_id, env=url)
        assert (done.returncode, "waits to be counted again" in done.stdout) == (0, True), done.stderr
        again = tally("dead-letters", "retry", letter_id, env=url)
        assert_refused(again, 1, f"tally: {letter_id}: there is no such dead letter (any more)")
        assert tally("aggregate", "--drain", env=url).returncode == 0
        assert counted(client).types == {"a": 1, "b": 1}


def test_over_shards_an_id_says_which(server: Server) -> None:
    url = {"TALLY_REDIS_URL": server.url, "TALLY_SHARDS": "3"}
    each = [Keys(tag) for tag in tags(3)]
    with server.client() as client:
        ids = [f"{shard}/{make(client, each[shard])}" for shard in (0, 2, 2)]
        assert [found["id"] for found in json.loads(tally("dead-letters", "list", "--json", env=url).stdout)] == ids
        without = ids[1].partition("/")[2]
        assert_refused(tally("dead-letters", "show", without, env=url), 2, f"as in 0/{without}")
        assert_refused(tally("dead-letters", "show", f"3/{without}", env=url), 2, "this is no ID of a dead letter")
        assert ids[2] in tally("dead-letters", "show", ids[2], env=url).stdout
        done = tally("dead-letters", "drop", "--yes", ids[1], env=url)
        assert (done.returncode, done.stdout) == (0, f"{ids[1]}: dropped\n"), done.stderr
        done = tally("dead-letters", "retry", "--all", env=url)
        assert (done.returncode, done.stdout.count("waits to be counted again")) == (0, 2), done.stderr
        assert [client.xlen(keys.stream) for keys in each] == [1, 0, 1]
        assert [client.xlen(keys.dead_letters) for keys in each] == [0, 0, 0]
        assert [client.hget(keys.totals, "lost") for keys in each] == [None, None, "1"]


@pytest.mark.parametrize(("command", "word"), [("retry", b"appended"), ("drop", b"dropped")])
def test_what_was_done_and_not_heard_of_is_not_done_again(server: Server, command: str, word: bytes) -> None:
    with server.client() as client:
        letter_id = make(client)
        proxy = LossyProxy(server.port, word=word, chance=1.0, seed=1)
        arguments = ["dead-letters", command, letter_id, *(["--yes"] if command == "drop" else [])]
        try:
            assert_refused(tally(*arguments, env={"TALLY_REDIS_URL": proxy.url}), 1, "tally: no answer from redis://")
        finally:
            proxy.close()
        assert proxy.lost == 1
        again = tally(*arguments, env={"TALLY_REDIS_URL": server.url})
        assert_refused(again, 1, "there is no such dead letter (any more)")
        assert (client.xlen(KEYS.stream), client.hget(KEYS.totals, "lost")) == (
            (1, None) if command == "retry" else (0, "1")
        )


def test_one_that_stays_is_said_and_the_others_are_moved(server: Server) -> None:
    url = {"TALLY_REDIS_URL": server.url}
    with server.client() as client:
        client.xadd(KEYS.dead_letters, {"lines": "of another client"})
        letter_id = make(client)
        done = tally("dead-letters", "retry", "--all", env=url)
        assert (done.returncode, done.stdout.startswith(f"{letter_id}: waits")) == (1, True)
        assert "neither a block nor a chunk; it stays" in done.stderr
        assert (client.xlen(KEYS.stream), client.xlen(KEYS.dead_letters)) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["retry"], "say which: IDs"),
        (["drop", "--yes"], "say which: IDs"),
        (["retry", "--all", "1-1"], "say which: IDs"),
        (["drop", "--all"], "nobody can be asked here: add --yes"),
        (["retry", "everything"], "everything: this is no ID of a dead letter"),
        (["retry", f"{2**64}-1"], "1: this is no ID of a dead letter"),
        (["show", "1-1", "--raw", "--json"], "--raw and --json contradict each other"),
    ],
    ids=" ".join,
)
def test_what_is_not_meant_is_refused_and_changes_nothing(server: Server, arguments: list[str], said: str) -> None:
    with server.client() as client:
        make(client)
        assert_refused(tally("dead-letters", *arguments, env={"TALLY_REDIS_URL": server.url}), 2, said)
        assert (client.xlen(KEYS.stream), client.xlen(KEYS.dead_letters)) == (0, 1)


@pytest.mark.parametrize(
    ("answer", "code", "left"),
    [(b"\n", 1, 2), (None, 1, 2), (b"y\n", 0, 0)],
    ids=["no, unless it is said", "Ctrl-C", "yes"],
)
def test_who_drops_is_asked_on_a_terminal(server: Server, answer: bytes | None, code: int, left: int) -> None:
    with server.client() as client:
        ids = [make(client), make(client)]
        ended, said = _on_terminal(["dead-letters", "drop", *ids], {"TALLY_REDIS_URL": server.url}, answer)
        assert (ended, client.xlen(KEYS.dead_letters)) == (code, left), said
        assert all(each in said for each in ids)
        assert "Traceback" not in said
        assert int(client.hget(KEYS.totals, "lost") or 0) == 2 - left


def _on_terminal(arguments: list[str], env: Mapping[str, str], answer: bytes | None) -> tuple[int, str]:
    """Run a command on a terminal and answer its question, or interrupt it; return how it ended, and what it said."""
    ours, theirs = pty.openpty()
    variables = {**os.environ, **env, "TERM": "xterm"}
    process = subprocess.Popen([*TALLY, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=variables)
    os.close(theirs)
    said, answered = b"", False
    try:
        while select.select([ours], [], [], 60)[0]:
            try:
                said += os.read(ours, 65536)
            except OSError:  # how a terminal says that the other side is closed
                break
            if not answered and b"for good? [y/N]" in said:
                answered = True
                if answer is None:
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(ours, answer)
        return process.wait(60), said.decode(errors="replace")
    finally:
        process.kill()
        process.wait()
        os.close(ours)
