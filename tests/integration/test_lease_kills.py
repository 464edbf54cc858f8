"""Somebody holds appends and is killed: services are told by whom they are held, and go on by themselves."""

from __future__ import annotations

import json
from pathlib import Path

from ingestor.log_events import APPENDS_GO_ON, APPENDS_HELD, STREAM_FULL
from tally.keys import Keys
from tally.store.held import LEASE_FIELD
from tests.processes import Process, run, running
from tests.senders import post, wait_for_port
from tests.server import Server, free_port
from tests.waiting import wait_until

KEYS = Keys()
EVENT = b'{"event_type":"a","data":"Lorem ipsum","timestamp":1600000000}\n'


def test_ingestors_say_who_holds_appends_and_go_on_when_that_one_is_killed(server: Server, tmp_path: Path) -> None:
    url = {"TALLY_REDIS_URL": server.url}
    port = free_port()
    followed = tmp_path / "events.ndjson"
    followed.write_bytes(EVENT)
    sources = (f"http://127.0.0.1:{port}", f"tail:{followed}")
    ingestor = Process("ingestor", *sources, log=tmp_path / "ingestor.log", **url)
    aggregator = Process("aggregator", log=tmp_path / "aggregator.log", **url)
    holder = Process("tests.lease_holder", log=tmp_path / "holder.log", **url)

    with server.client() as client, running(ingestor, aggregator):

        def lease() -> list[str]:
            return str(client.hget(KEYS.backlog, LEASE_FIELD) or "").split(":")

        def events() -> int:
            return int(str(client.hget(KEYS.totals, "events") or 0))

        wait_for_port(port)
        wait_until(lambda: events() == 1, what="the first event is counted")
        with running(holder):
            wait_until(lambda: len(lease()) == 3, what="appends are held")
            first = lease()
            with followed.open("ab") as file:
                file.write(EVENT)
            held = post(port, EVENT)
            assert (held.status, held.json["title"], int(held.headers["retry-after"]) >= 1) == (
                429,
                "Appends are held",
                True,
            )
            wait_until(lambda: APPENDS_HELD in ingestor.log(), what="it is said who holds them")
            wait_until(lambda: lease()[2:] > first[2:], what="it is renewed, and is still the same")
            assert lease()[:2] == first[:2]
            said = json.loads(next(line for line in ingestor.log().splitlines() if APPENDS_HELD in line))
            assert said["by"] == "tally export"
            told = run("tally", "status", env=url).stdout
            assert f"Sources are not read: `tally export` on {said['host']} holds appends" in told
            assert json.loads(run("tally", "status", "--json", env=url).stdout)["backlog"]["held"]["by"] == "export"
            assert events() == 1
            holder.kill()
        wait_until(lambda: events() == 2, what="the second event is counted, for the lease has ended by itself")
        assert post(port, EVENT).status == 202
        wait_until(lambda: APPENDS_GO_ON in ingestor.log(), what="it is said that they go on")
        assert STREAM_FULL not in ingestor.log()
        assert lease() == [""], "what was appended behind it has taken it away"
    assert json.loads(run("tally", "status", "--json", env=url).stdout)["backlog"]["held"] is None
