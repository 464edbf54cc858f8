"""NULs and byte order marks in front of events, through whole pipelines: no event is lost, and each is in a figure."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ingestor.log_events import CUT_DOWN
from tally.keys import Keys
from tests.processes import Process, running
from tests.senders import post, wait_for_port
from tests.server import Server, free_port
from tests.waiting import wait_until

KEYS = Keys()
EVENT = b'{"event_type":"a","data":"b"}'
MARK = b"\xef\xbb\xbf"


def totals(server: Server, folder: Path) -> dict[str, int]:
    """Count what is in the stream; all the totals."""
    drain = Process("aggregator", "--drain", log=folder / "drain.log", TALLY_REDIS_URL=server.url)
    with running(drain):
        assert drain.wait() == 0, drain.log()
    with server.client() as client:
        return {name: int(count) for name, count in client.hgetall(KEYS.totals).items()}


def appended(server: Server) -> int:
    with server.client() as client:
        return sum(map(int, client.hvals(KEYS.sources)))


def test_a_hole_in_a_file_costs_neither_an_event_nor_memory(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    with path.open("wb") as file:
        file.write(EVENT + b"\n")
        file.truncate(200 << 20)
        file.seek(0, os.SEEK_END)
        file.write(EVENT + b"\n" + MARK + EVENT + b"\r\n" + MARK)
    ingestor = Process("ingestor", str(path), log=tmp_path / "ingestor.log", TALLY_REDIS_URL=server.url)
    with running(ingestor):
        assert ingestor.wait() == 0, ingestor.log()
    with server.client() as client:
        assert client.memory_usage(KEYS.stream) < 1 << 20
    found = totals(server, tmp_path)
    assert (found["events"], found.get("rejected", 0), found["padded"]) == (3, 0, 3)
    assert appended(server) == path.stat().st_size


def test_a_writer_that_does_not_append_goes_on_behind_a_hole(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    ingestor = Process("ingestor", f"tail:{path}", log=tmp_path / "ingestor.log", TALLY_REDIS_URL=server.url)
    with path.open("wb", buffering=0) as writer, running(ingestor):
        writer.write((EVENT + b"\n") * 9)
        wait_until(lambda: appended(server) == path.stat().st_size, what="all is read")
        for times in (1, 2):
            os.truncate(path, 0)
            wait_until(
                lambda times=times: ingestor.log().count(CUT_DOWN) == times,  # type: ignore[misc]
                what="the truncation is noticed",
            )
            writer.write((EVENT + b"\n") * 9)
            wait_until(lambda times=times: lines(server) == 9 + times * 9, what="what was written is read")  # type: ignore[misc]
        assert ingestor.stop() == 0, ingestor.log()
    found = totals(server, tmp_path)
    assert (found["events"], found.get("rejected", 0), found["padded"]) == (27, 0, 2)


def lines(server: Server) -> int:
    with server.client() as client:
        return sum(fields["lines"].count("event_type") for _, fields in client.xrange(KEYS.stream))


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/json", "application/x-www-form-urlencoded"])
def test_a_body_may_begin_with_a_byte_order_mark(server: Server, tmp_path: Path, kind: str) -> None:
    port = free_port()
    source = f"http://127.0.0.1:{port}"
    ingestor = Process("ingestor", source, log=tmp_path / "ingestor.log", TALLY_REDIS_URL=server.url)
    body = MARK + EVENT + b"\n" + EVENT + b"\n"
    if kind == "application/x-ndjson":
        body += MARK + b"\n" + b"\0" * 9  # which are no lines
    with running(ingestor):
        wait_for_port(port)
        answer = post(port, body, kind=kind)
        assert (answer.status, answer.json) == (202, {"lines": 2})
    found = totals(server, tmp_path)
    assert (found["events"], found.get("rejected", 0)) == (2, 0)
    assert found["padded"] == (3 if kind == "application/x-ndjson" else 1)


def test_a_connection_may_send_nuls_without_an_end(server: Server, tmp_path: Path) -> None:
    port = free_port()
    source = f"tcp://127.0.0.1:{port}"
    ingestor = Process("ingestor", source, log=tmp_path / "ingestor.log", TALLY_REDIS_URL=server.url)
    with running(ingestor):
        wait_for_port(port)
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            for _ in range(64):
                connection.sendall(bytes(1 << 20))
            connection.sendall(EVENT + b"\n" + MARK + EVENT)
        wait_until(lambda: lines(server) == 2, what="both events are in the stream")
        assert ingestor.resident_bytes() < 200 << 20
    found = totals(server, tmp_path)
    assert (found["events"], found.get("rejected", 0), found["padded"]) == (2, 0, 2)
