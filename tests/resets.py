"""A namespace is emptied while services run, on one server or on a cluster: what both have to show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tally.keys import Keys
from tally.shards import tags
from tests.oracle import Expected, counted
from tests.processes import Process, run, running
from tests.senders import post, wait_for_port
from tests.server import free_port
from tests.users import as_told
from tests.waiting import wait_until

LINES = 4000

#: So that there is something of every shard.
SMALL = {"TALLY_MAX_BLOCK_BYTES": "8192", "TALLY_STRIPE_BYTES": "16384", "TALLY_WORDS_BY_TYPE": "3"}

EVENT = b'{"event_type":"pushed","data":"once and no more","timestamp":1600000000}\n'


def _lines(first: int, last: int) -> list[bytes]:
    return [b'{"event_type":"type-%d","data":"word-%d and more"}\n' % (each % 7, each) for each in range(first, last)]


def empties_under_load(folder: Path, *, url: str, shards: int, namespace: str, client_of: Callable[[int], Any]) -> None:
    """Services go on over a reset, and what there is in the end is what can be read again, once.

    `client_of` gives a client, with text replies, of the server that has a tag.
    """
    path = folder / "events.ndjson"
    path.write_bytes(b"".join(_lines(0, LINES)))
    common = {"TALLY_REDIS_URL": url, "TALLY_NAMESPACE": namespace}
    variables = {**common, "TALLY_SHARDS": str(shards), **SMALL}
    port = free_port()
    ingestor = Process("ingestor", f"tail:{path}", f"http://127.0.0.1:{port}", log=folder / "ingestor.log", **variables)
    aggregator = Process("aggregator", log=folder / "aggregator.log", **variables)
    keys = [Keys(tag, namespace) for tag in tags(shards)]

    def found() -> Expected:
        whole = Expected()
        for each in keys:
            whole += counted(client_of(each.tag), each)
        return whole

    first = keys[0]
    client = client_of(first.tag)
    others = [f"{namespace}-2:{{{first.tag}}}:stream", f"other:{{{first.tag}}}:layout", f"{namespace}:plain"]
    others = [each for each in others if each.count("{")] if shards > 1 else others
    for other in others:
        client.set(other, "not ours")
    with running(ingestor, aggregator):
        wait_for_port(port)
        for _ in range(3):
            assert post(port, EVENT).status == 202
        wait_until(lambda: found().events == LINES + 3, what="all is counted")
        left = [first.delta("stale"), first.rolled(60), first.window_words(60, -60)]
        for each in left:
            client.rpush(each, "left behind by something that was killed")
        client.xadd(first.dead_letters, {"lines": EVENT})
        with path.open("ab") as file:
            file.writelines(_lines(LINES, 2 * LINES))
        # Whatever is set where it runs, it knows how many shards there are.
        done = run("tally", "reset", "--yes", env={**common, "TALLY_SHARDS": "5"})
        assert done.returncode == 0, done.stderr
        assert f": namespace {namespace} of {as_told(url, 'tally', 'reset')} is empty." in done.stdout
        with path.open("ab") as file:
            file.writelines(_lines(2 * LINES, 2 * LINES + 10))
        expected = Expected.of(path.read_bytes().splitlines(keepends=True))
        wait_until(lambda: found().events >= expected.events, what="the file is counted again")
        assert post(port, EVENT).status == 202
        expected += Expected.of([EVENT])
        wait_until(lambda: found().events >= expected.events, what="what is pushed since is counted")
        assert expected.difference(found()) == ""
        assert ingestor.stop() == 0, ingestor.log()
        assert aggregator.stop() == 0, aggregator.log()
    assert expected.difference(found()) == ""
    assert not client.exists(*left, first.dead_letters)
    for shard in keys:
        assert int(client_of(shard.tag).hget(shard.totals, "lost") or 0) == 0
    assert [client.get(other) for other in others] == ["not ours"] * len(others)
