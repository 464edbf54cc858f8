"""Events over HTTP: what was answered with 202 is counted, once, whatever is killed and however often it is sent."""

from __future__ import annotations

import gzip
import http.client
import itertools
import json
import random
import re
import select
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from ingestor.log_events import TOO_MANY_BODIES
from tally.keys import Keys
from tally.log_events import STOPPING
from tally.web.listening import allow_connections
from tally.web.log_events import CONNECTION_GIVES_WAY, HEAD_TOO_LATE, REQUEST_REFUSED
from tally.web.problem_types import HEAD_TOO_LARGE
from tests.effort import examples
from tests.oracle import Expected, counted
from tests.processes import Process, running
from tests.proxy import LossyProxy
from tests.senders import post, raw, wait_for_port
from tests.server import Server, free_port
from tests.waiting import wait_until

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KEYS = Keys()
EVENT = b'{"event_type": "a", "data": "b"}'


class Intake:
    """An ingestor that serves HTTP."""

    def __init__(self, folder: Path, *, scheme: str = "http", **variables: str) -> None:
        self.port = free_port()
        self.label = f"{scheme}://127.0.0.1:{self.port}"
        self._folder = folder
        self._variables = variables
        self.process = Process("ingestor", self.label, log=folder / "ingestor.log", **variables)

    def start(self) -> None:
        self.process.start()
        wait_for_port(self.port)

    def drain(self, server: Server) -> Expected:
        """Count what was appended."""
        variables = {**self._variables, "TALLY_REDIS_URL": server.url}
        drain = Process("aggregator", "--drain", log=self._folder / "drain.log", **variables)
        with running(drain):
            assert drain.wait() == 0, drain.log()
        with server.client() as client:
            return counted(client)


@pytest.fixture
def intake(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Intake]:
    made = Intake(tmp_path, TALLY_REDIS_URL=server.url, **getattr(request, "param", {}))
    with running(made.process):
        wait_for_port(made.port)
        yield made


def settings(**variables: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("intake", [variables], indirect=True, ids=[""])


def test_what_is_answered_is_in_the_stream(intake: Intake, server: Server) -> None:
    lines = EVENT + b"\n\n" + b"garbage\n" + EVENT
    event = json.loads(EVENT)
    sent: list[tuple[bytes, str, dict[str, str], int]] = [
        (lines, "application/x-ndjson", {}, 3),
        (gzip.compress(lines), "application/jsonl", {"content_encoding": "gzip"}, 3),
        (zstd.compress(lines), "text/plain; charset=utf-8", {"content_encoding": "zstd"}, 3),
        (EVENT, "application/json", {}, 1),
        (json.dumps([event, event], indent=2).encode(), "application/json", {}, 2),
        (EVENT, "application/x-www-form-urlencoded", {}, 1),
        (gzip.compress(EVENT + EVENT), "", {"content_encoding": "gzip"}, 2),
        (b"\n \n", "text/plain", {}, 0),
    ]
    for body, kind, headers, count in sent:
        answer = post(intake.port, body, kind=kind, **headers)
        assert (answer.status, answer.json) == (202, {"lines": count})
        answer = post(intake.port, (body[at : at + 5] for at in range(0, len(body), 5)), kind=kind, **headers)
        assert (answer.status, answer.json) == (202, {"lines": count}), "chunked"
    found = intake.drain(server)
    assert (found.events, found.rejected) == (2 * (2 + 2 + 2 + 1 + 2 + 1 + 2), 2 * 3)
    with server.client() as client:
        assert client.hexists(KEYS.sources, intake.label), "it shows among the sources"


def test_a_body_without_any_byte_is_refused_and_one_of_blank_lines_appends_nothing(
    intake: Intake, server: Server
) -> None:
    for body in (b"", iter(())):
        answer = post(intake.port, body, kind="text/plain")
        assert (answer.status, answer.json["title"]) == (400, "The body is empty")
    assert raw(intake.port, b"POST /events HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").startswith(
        b"HTTP/1.1 400 "
    )
    assert post(intake.port, b"\n", kind="text/plain").json == {"lines": 0}
    with server.client() as client:
        assert client.xlen(KEYS.stream) == 0


@pytest.fixture(params=["http", "https"])
def connect(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Iterator[Callable[[], socket.socket]]:
    """Makes a connection to an ingestor that serves HTTP, or HTTPS."""
    authority = trustme.CA()
    pem = tmp_path / "certificate.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    intake = Intake(tmp_path, scheme=request.param, TALLY_REDIS_URL=server.url, TALLY_TLS_CERTIFICATE_PATH=str(pem))

    def connected() -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", intake.port), timeout=60)
        return plain if request.param == "http" else context.wrap_socket(plain, server_hostname="127.0.0.1")

    with running(intake.process):
        wait_for_port(intake.port)
        yield connected


OFFERS = {
    "none": b"",
    # curl --http2, and Java's HttpClient unless it is told otherwise.
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    "TLS": b"Upgrade: TLS/1.0\r\nConnection: Upgrade\r\n",
    "websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "several": b"Connection: upgrade\r\nUpgrade: h2c, websocket\r\nUpgrade: TLS/1.2\r\n",
}


def as_post(offer: bytes, *, chunked: bool) -> bytes:
    """A request that carries one event."""
    head = b"POST /events HTTP/1.1\r\nHost: a\r\n%sContent-Type: application/x-ndjson\r\n" % offer
    if chunked:
        return head + b"Transfer-Encoding: chunked\r\n\r\n5\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (
            EVENT[:5],
            len(EVENT) - 5,
            EVENT[5:],
        )
    return head + b"Content-Length: %d\r\n\r\n%s" % (len(EVENT), EVENT)


@pytest.mark.parametrize("step", [None, 7], ids=["at once", "in pieces"])
def test_an_offer_to_upgrade_is_ignored_and_all_that_is_sent_is_read(
    connect: Callable[[], socket.socket], server: Server, step: int | None
) -> None:
    """Requests with and without an offer, one behind the other on a connection, none waiting for an answer."""
    posts = [as_post(offer, chunked=chunked) for offer in OFFERS.values() for chunked in (False, True)]
    health = [b"GET /healthz HTTP/1.1\r\nHost: a\r\n%s\r\n" % offer for offer in OFFERS.values()]
    last = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    sent = b"".join([*posts, *health, *posts, last])
    with connect() as connection:
        for at in range(0, len(sent), step or len(sent)):
            connection.sendall(sent[at : at + (step or len(sent))])
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    statuses = re.findall(rb"HTTP/1.1 (\d+)", answers)
    assert statuses == [b"202"] * len(posts) + [b"200"] * len(health) + [b"202"] * len(posts) + [b"200"]
    assert answers.count(b'{"lines":1}') == 2 * len(posts)
    with server.client() as client:
        found: Any = client.xrange(KEYS.stream)
        assert sum(entry["lines"].count("\n") + 1 for _, entry in found) == 2 * len(posts)


def test_what_curl_sends_with_an_offer_of_http_2_is_taken(intake: Intake, server: Server) -> None:
    for more in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]):
        done = subprocess.run(
            ["curl", "-sS", "--http2", *more, "-d", EVENT.decode(), f"http://127.0.0.1:{intake.port}/events"],
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert done.stdout == b'{"lines":1}'
    assert intake.drain(server).events == 3


@pytest.mark.parametrize("target", [b"a:443", b"/events"])
def test_a_tunnel_is_refused(intake: Intake, target: bytes) -> None:
    answer = raw(intake.port, b"CONNECT %s HTTP/1.1\r\nHost: a\r\n\r\n%s" % (target, as_post(b"", chunked=False)))
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"400"]


def test_the_first_command_of_the_readme_is_true(intake: Intake, server: Server) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    port, command = re.findall(r"--source http://127.0.0.1:(\d+)\"\n.*?\n +(curl .*?)\n", readme, re.DOTALL)[0]
    assert f"127.0.0.1:{port}/events" in command
    done = subprocess.run(
        shlex.split(command.replace(f":{port}/", f":{intake.port}/")), capture_output=True, check=True, timeout=60
    )
    assert done.stdout == b'{"lines":1}'
    assert intake.drain(server).events == 1


def test_who_asks_at_the_wrong_place_is_told_the_right_one(intake: Intake) -> None:
    for path, status in (("/", 404), ("/event", 404), ("/healthz", 405)):
        answer = post(intake.port, EVENT, path=path)
        assert (answer.status, "POST /events" in answer.json["detail"]) == (status, True)
        if status == 404:
            assert answer.json["paths"] == ["/events", "/healthz"]
        else:
            assert raw(intake.port, b"OPTIONS /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 204 ")


@pytest.mark.slow
def test_a_body_over_thousands_of_blocks_is_appended_at_once(server: Server, tmp_path: Path) -> None:
    intake = Intake(tmp_path, TALLY_REDIS_URL=server.url, TALLY_MAX_BLOCK_BYTES="1024", TALLY_MAX_BACKLOG_BLOCKS="10")
    body = (EVENT + b"\n") * 400_000
    with running(intake.process):
        wait_for_port(intake.port)
        assert post(intake.port, body, idempotency_key="k").json == {"lines": 400_000}
        again = post(intake.port, gzip.compress(body, 1), content_encoding="gzip", idempotency_key="k")
        assert (again.status, again.headers["idempotent-replayed"]) == (202, "true")
        with server.client() as client:
            assert client.xlen(KEYS.stream) > 10_000
        full = post(intake.port, EVENT, idempotency_key="l")
        assert (full.status, full.json["title"]) == (429, "The stream is full")
        assert int(full.headers["retry-after"]) >= 1
        assert intake.drain(server).events == 400_000
        assert post(intake.port, EVENT, idempotency_key="l").status == 202
    assert intake.drain(server).events == 400_001


def test_a_key_counts_once_and_belongs_to_one_body(intake: Intake, server: Server) -> None:
    for kind, body in (
        ("text/plain", EVENT),
        ("text/plain", EVENT + b"\n"),
        ("application/json", b"[" + EVENT + b"]"),
        ("application/json", EVENT),
    ):
        assert post(intake.port, body, kind=kind, idempotency_key='"a-b"').status == 202, "the same lines"
    other = post(intake.port, EVENT + b"\n" + EVENT, idempotency_key='"a-b"')
    assert (other.status, other.headers["content-type"]) == (422, "application/problem+json")
    assert post(intake.port, EVENT, idempotency_key="another").status == 202
    assert post(intake.port, EVENT, idempotency_key="").status == 400
    assert post(intake.port, EVENT, idempotency_key="x" * 256).status == 400
    with server.client() as client:
        assert client.hlen(KEYS.once_new) == 2 + 1, "and since when"
        assert 86_400 < int(client.ttl(KEYS.once_new)) <= 2 * 86_400, "gone a day after the last that comes to it"
    assert intake.drain(server).events == 2


def send_until(over: threading.Event, port: int, bodies: Iterator[bytes], *, prefix: str) -> list[bytes]:
    """Send one after the other, each until it is answered with 202; those that were sent."""
    sent: list[bytes] = []
    while not over.is_set():
        body = next(bodies)
        while True:
            try:
                answer = post(port, body, idempotency_key=f"{prefix}-{len(sent)}")
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)  # as a client does that lost its server
                continue
            if answer.status == 202:
                break
            assert answer.status in (429, 503), answer
            time.sleep(0.05)
        sent.append(body)
    return sent


def bodies_of(sender: int) -> Iterator[bytes]:
    chance = random.Random(sender)
    for at in itertools.count():
        lines = [f'{{"event_type": "s{sender}", "data": "b{at} l{line}"}}' for line in range(chance.randrange(1, 300))]
        yield "\n".join([*lines, "garbage"]).encode()


def test_killed_ingestors_with_clients_that_send_again(server: Server, tmp_path: Path) -> None:
    """Every body is sent until it is answered; the ingestor is killed at random, also between append and answer."""
    chance = random.Random(1)
    small = {"TALLY_MAX_BLOCK_BYTES": "1024", "TALLY_MAX_BACKLOG_BLOCKS": "200", "TALLY_REDIS_URL": server.url}
    intake = Intake(tmp_path, **small)
    aggregator = Process("aggregator", log=tmp_path / "aggregator.log", **small)
    over = threading.Event()
    with (
        running(intake.process, aggregator),
        server.client() as client,
        ThreadPoolExecutor() as pool,
    ):
        senders = [
            pool.submit(send_until, over, intake.port, bodies_of(sender), prefix=f"s{sender}") for sender in range(3)
        ]
        try:
            for _ in range(4):
                before: Any = client.hget(KEYS.totals, "blocks")
                wait_until(
                    lambda before=before: client.hget(KEYS.totals, "blocks") != before,  # type: ignore[misc]
                    what="something is counted",
                )
                time.sleep(chance.uniform(0, 0.2))  # when the kill comes is what is random here
                assert intake.process.kill()
                intake.process.start()
        finally:
            over.set()
        bodies = [body for sender in senders for body in sender.result()]
        assert aggregator.stop() == 0
    assert intake.drain(server) == Expected.of(line for body in bodies for line in body.split(b"\n"))


def test_lost_replies_of_redis(server: Server, tmp_path: Path) -> None:
    """The script ran, its reply did not come: without any key the ingestor finds out by itself."""
    proxy = LossyProxy(server.port, word=b"appended", chance=0.3, seed=5)
    intake = Intake(tmp_path, TALLY_REDIS_URL=proxy.url)
    with running(intake.process):
        wait_for_port(intake.port)
        for at in range(60):
            key = {"idempotency_key": str(at)} if at % 2 else {}
            assert post(intake.port, EVENT + b"\n" + EVENT, **key).status == 202
        proxy.close()
        assert proxy.lost >= 5
    assert intake.drain(server).events == 120


def test_requests_at_the_same_time_share_round_trips(intake: Intake, server: Server) -> None:
    counts = [0] * 16

    def send(at: int) -> None:
        for _ in range(40):
            counts[at] += post(intake.port, EVENT).json["lines"]

    threads = [threading.Thread(target=send, args=(at,)) for at in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with server.client() as client:
        assert client.xlen(KEYS.stream) <= sum(counts)
    assert intake.drain(server).events == sum(counts) == 640


def test_redis_that_is_away_is_503_and_then_it_goes_on(durable_server: Server, tmp_path: Path) -> None:
    intake = Intake(tmp_path, TALLY_REDIS_URL=durable_server.url, TALLY_INGEST_WAIT_FOR_DISK="true")
    with running(intake.process):
        wait_for_port(intake.port)
        assert post(intake.port, EVENT, idempotency_key="1").status == 202
        durable_server.kill()
        away = post(intake.port, EVENT, idempotency_key="2")
        assert (away.status, away.json["title"]) == (503, "Redis is unavailable")
        assert int(away.headers["retry-after"]) >= 1
        durable_server.start()
        for key in "2", "1", "2":
            assert post(intake.port, EVENT, idempotency_key=key).status == 202
    assert intake.drain(durable_server).events == 2, "what was on disk when it was answered survived the kill"


@pytest.mark.slow
def test_it_listens_before_redis_does_and_takes_events_once_that_answers(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    intake = Intake(tmp_path, TALLY_REDIS_URL=server.url)
    with running(intake.process):
        wait_for_port(intake.port)
        early = post(intake.port, EVENT)
        assert (early.status, early.json["title"]) == (503, "Redis is unavailable")
        assert int(early.headers["retry-after"]) >= 1
        assert str(server.port) not in early.body.decode(), "it is nobody's business where Redis is"
        assert raw(intake.port, b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        server.start()
        try:
            wait_until(lambda: post(intake.port, EVENT).status == 202, what="events are taken")
            assert intake.drain(server).events == 1
        finally:
            server.stop()


@pytest.mark.slow
def test_it_can_be_stopped_before_redis_answers(tmp_path: Path) -> None:
    intake = Intake(tmp_path, TALLY_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    with running(intake.process):
        wait_for_port(intake.port)
        assert post(intake.port, EVENT).status == 503
        assert intake.process.stop() == 0


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_it_has_no_page_that_loads_scripts_of_other_hosts(intake: Intake, path: str) -> None:
    assert raw(intake.port, b"GET %s HTTP/1.0\r\n\r\n" % path.encode()).startswith(b"HTTP/1.1 404 ")


@settings(TALLY_INGEST_WAIT_FOR_DISK="true")
def test_waiting_for_a_disk_that_is_not_written_is_said(intake: Intake) -> None:
    answer = post(intake.port, EVENT)
    assert answer.status == 503
    assert "TALLY_INGEST_WAIT_FOR_DISK is set, but Redis says" in answer.json["detail"]


@settings(TALLY_INGEST_TOKEN="s3cret-!")
def test_a_token(intake: Intake, server: Server) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic s3cret-!"}):
        answer = post(intake.port, EVENT, **headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert post(intake.port, EVENT, authorization="bearer s3cret-!").status == 202
    (log,) = [json.loads(line) for line in intake.process.log().splitlines() if f"{REQUEST_REFUSED} with 401" in line]
    assert (log["peer"], log["path"], log["source"]) == ("127.0.0.1", "/events", intake.label)
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert raw(intake.port, b"GET %s HTTP/1.0\r\n\r\n" % path.encode()).startswith(b"HTTP/1.1 404 ")
    assert raw(intake.port, b"GET /healthz HTTP/1.0\r\n\r\n").endswith(b'{"status":"ok"}')
    assert intake.drain(server).events == 1


# What other programs send, byte for byte but for the length.


def fluent_bit(kind: str, body: bytes, *more: str) -> bytes:
    """out_http: POST, Host, Content-Length, Content-Type, (Content-Encoding,) User-Agent, own headers."""
    lines = [
        "POST /events HTTP/1.1",
        "Host: 127.0.0.1:8080",
        f"Content-Length: {len(body)}",
        f"Content-Type: {kind}",
        *more,
        "User-Agent: Fluent-Bit",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def vector(kind: str, body: bytes, *more: str) -> bytes:
    """The http sink, through hyper: header names in lower case."""
    lines = [
        "POST /events HTTP/1.1",
        f"content-type: {kind}",
        *more,
        "user-agent: Vector/0.50.0 (x86_64-unknown-linux-gnu)",
        "accept-encoding: identity",
        "connection: close",
        "host: 127.0.0.1:8080",
        f"content-length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


_FB = b'{"date":1700000000.5,"event_type":"a","data":"b"}'
_TWO = _FB + b"\n" + _FB


@pytest.mark.parametrize(
    "request_",
    [
        fluent_bit("application/json", b"[" + _FB + b"," + _FB + b"]"),
        fluent_bit("application/json", _FB + _FB),
        fluent_bit("application/x-ndjson", _TWO + b"\n"),
        fluent_bit("application/x-ndjson", gzip.compress(_TWO + b"\n"), "Content-Encoding: gzip"),
        vector("application/json", b"[" + EVENT + b"," + EVENT + b"]"),
        vector("application/x-ndjson", EVENT + b"\n" + EVENT),
        vector("application/x-ndjson", zstd.compress(EVENT + b"\n" + EVENT), "content-encoding: zstd"),
        vector("text/plain", EVENT + b"\n" + EVENT + b"\n"),
    ],
    ids=[
        "fb json",
        "fb json_stream",
        "fb json_lines",
        "fb gzip",
        "vector array",
        "vector ndjson",
        "vector zstd",
        "text",
    ],
)
def test_what_log_shippers_send(shipped: tuple[Intake, Server], request_: bytes) -> None:
    intake, _ = shipped
    answer = raw(intake.port, request_)
    assert answer.startswith(b"HTTP/1.1 202 "), answer
    assert answer.endswith(b'{"lines":2}')
    assert raw(intake.port, b"HEAD /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").startswith(
        b"HTTP/1.1 200 "
    )


@pytest.fixture(scope="module")
def shipped(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Intake, Server]]:
    """One ingestor for many small tests."""
    with shared_server.client() as client:
        client.flushall()
    intake = Intake(
        tmp_path_factory.mktemp("shipped"),
        TALLY_REDIS_URL=shared_server.url,
        TALLY_MAX_BODY_BYTES="20000",
        TALLY_MAX_LINE_BYTES="1000",
        TALLY_MAX_BACKLOG_BLOCKS="1000000",
    )
    with running(intake.process):
        wait_for_port(intake.port)
        yield intake, shared_server


PIECE = st.sampled_from(
    [EVENT, b"\n", b"[", b"]", b",", b" ", b"\x00", b"\xff", b"x" * 1500, b"y" * 9000, b'"', b"\r", b"1"]
)


@given(
    pieces=st.lists(PIECE, max_size=12),
    kind=st.sampled_from(["application/x-ndjson", "application/json", "text/plain; charset=latin-1", "image/png", ""]),
    encoding=st.sampled_from(["", "gzip", "zstd", "br"]),
    honest=st.booleans(),
    chunked=st.booleans(),
    key=st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=5),
)
@examples(30, 300)
def test_no_body_is_an_internal_error(
    shipped: tuple[Intake, Server],
    pieces: list[bytes],
    kind: str,
    encoding: str,
    honest: bool,
    chunked: bool,
    key: str | None,
) -> None:
    intake, _ = shipped
    encoders: dict[str, Any] = {"gzip": gzip.compress, "zstd": zstd.compress}
    encode = encoders.get(encoding, bytes)
    sent = [encode(b"".join(pieces))] if honest else pieces
    headers = {"content_encoding": encoding} if encoding else {}
    if key is not None:
        headers["idempotency_key"] = key
    answer = post(
        intake.port, iter([each for each in sent if each]) if chunked else b"".join(sent), kind=kind, **headers
    )
    assert answer.status in (202, 400, 413, 415, 422)
    if answer.status != 202:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["status"] == answer.status
        assert answer.json["type"].startswith("/problems/")
    assert intake.process.exit_code is None
    assert "request failed" not in intake.process.log()


@given(junk=st.binary(max_size=300), cut=st.integers(0, 200))
@examples(15, 150)
def test_no_bytes_on_the_wire_do_harm(shipped: tuple[Intake, Server], junk: bytes, cut: int) -> None:
    intake, _ = shipped
    request = b"POST /events HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
    answer = raw(intake.port, request[:cut] + junk, half_close=True)
    assert not answer.startswith(b"HTTP/1.1 5"), answer
    assert intake.process.exit_code is None
    assert "request failed" not in intake.process.log()


def test_an_array_of_millions_is_refused_and_takes_little_memory(intake: Intake) -> None:
    """16 KB of gzip that are 16 MiB of JSON, of five million elements."""
    bomb = gzip.compress(b"[" + b"{}," * 5_500_000 + b"{}]")
    assert post(intake.port, EVENT).status == 202
    before_bytes = intake.process.peak_bytes()
    for _ in range(3):
        answer = post(intake.port, bomb, kind="application/json", content_encoding="gzip")
        assert (answer.status, answer.json["title"]) == (413, "The body is too large")
    assert intake.process.peak_bytes() - before_bytes < 60_000_000


@pytest.mark.slow
def test_others_are_answered_while_a_long_body_is_read(intake: Intake, server: Server) -> None:
    """What takes the longest to be cut: brackets so deep that they are counted, seconds of work."""
    element = b"[" * 20 + b"]" * 20
    slow = gzip.compress(b"[" + b",".join([element] * 400_000) + b"]")
    before_bytes = intake.process.peak_bytes()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(post, intake.port, slow, kind="application/json", content_encoding="gzip")
        answered = 0
        while not answer.done():
            assert raw(intake.port, b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
            answered += 1
    assert answer.result().json == {"lines": 400_000}
    assert answered > 5
    assert intake.process.peak_bytes() - before_bytes < 120_000_000


def stalled(stack: ExitStack, intake: Intake, bytes_: int, *, address: str = "127.0.0.1") -> socket.socket:
    """A connection that has sent so much of a body, and no more."""
    connection = stack.enter_context(
        socket.create_connection(("127.0.0.1", intake.port), timeout=60, source_address=(address, 0))
    )
    connection.sendall(
        b"POST /events HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\ncontent-length: 1000000\r\n"
        b"expect: 100-continue\r\n\r\n"
    )
    assert connection.recv(100).startswith(b"HTTP/1.1 100 "), "its body is waited for"
    connection.sendall(b"x" * bytes_)
    return connection


@settings(TALLY_MAX_BUFFERED_BYTES="4000000", TALLY_MAX_BODY_BYTES="1000000", TALLY_CONNECTION_IDLE_SECONDS="60")
@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
def test_bodies_that_stall_give_way_to_others(intake: Intake, server: Server, address: str) -> None:
    body = (EVENT + b"\n") * 3000
    statuses = []
    with ExitStack() as stack:
        opened = [stalled(stack, intake, 999_000) for _ in range(4)]

        def one_gives_way() -> bool:  # when the server has read what they sent, and there is no room for another
            connection = http.client.HTTPConnection("127.0.0.1", intake.port, timeout=60, source_address=(address, 0))
            with closing(connection):
                connection.request("POST", "/events", body, {"content-type": "text/plain"})
                statuses.append(connection.getresponse().status)
            return bool(select.select(opened, [], [], 0)[0])

        wait_until(one_gives_way, what="one that has stalled gives way")
        answer = select.select(opened, [], [], 0)[0][0].recv(1000)
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"retry-after: 1" in answer
    assert TOO_MANY_BODIES in intake.process.log()
    assert statuses[-1] == 202
    assert set(statuses) <= ({202, 429} if address == "127.0.0.1" else {202})
    assert intake.drain(server).events == 3000 * statuses.count(202)


@settings(TALLY_CONNECTION_IDLE_SECONDS="2")
def test_a_body_that_comes_too_slowly_is_given_up(intake: Intake) -> None:
    with ExitStack() as stack:
        connection = stalled(stack, intake, 1)
        connection.setblocking(False)
        answer = b""
        for _ in range(1000):
            with suppress(BlockingIOError):
                answer += connection.recv(1000)
            if answer:
                break
            connection.send(b"x")
            time.sleep(0.02)  # fifty bytes a second, at the most
        connection.settimeout(60)
        answer += ended(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"500 bytes a second" in answer


@settings(TALLY_MAX_BODY_SECONDS="2")
def test_a_body_that_takes_too_long_is_given_up(intake: Intake) -> None:
    with ExitStack() as stack:
        connection = stalled(stack, intake, 1)
        over = threading.Event()

        def send() -> None:
            with suppress(OSError):
                while not over.wait(0.05):
                    connection.sendall(b"x" * 1000)

        sender = threading.Thread(target=send)
        sender.start()
        answer = answered(connection)
        over.set()
        sender.join()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"TALLY_MAX_BODY_SECONDS" in answer


HEAD = b"POST /events HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\ncontent-length: 99\r\n\r\n"


def connected(stack: ExitStack, intake: Intake, *, address: str = "127.0.0.1") -> socket.socket:
    return stack.enter_context(
        socket.create_connection(("127.0.0.1", intake.port), timeout=60, source_address=(address, 0))
    )


def answered(connection: socket.socket) -> bytes:
    """One answer, whole."""
    with connection.makefile("rb", buffering=0) as stream:
        head = b"".join(iter(stream.readline, b"\r\n"))
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None, head
        return head + stream.read(int(length[1]))


def ended(connection: socket.socket) -> bytes:
    """What it gave until it was closed."""
    with suppress(ConnectionResetError):
        return b"".join(iter(lambda: connection.recv(65536), b""))
    return b""


@settings(TALLY_CONNECTION_IDLE_SECONDS="1")
def test_silent_connections_end(intake: Intake) -> None:
    early = HEAD.replace(b"/events", b"/healthz")  # answered before its body is there
    begun = [
        b"",
        b"\r\n",
        HEAD[:20],
        HEAD + b"half",
        early + b"half",
        b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n" + HEAD[:20],
    ]
    with ExitStack() as stack:
        opened = [connected(stack, intake) for _ in begun]
        for connection, data in zip(opened, begun, strict=True):
            connection.sendall(data)
        answers = [ended(connection)[:13].decode() for connection in opened]
    assert answers == ["", "", "", "HTTP/1.1 408 ", "HTTP/1.1 405 ", "HTTP/1.1 200 "]
    assert HEAD_TOO_LATE in intake.process.log()
    wait_until(lambda: post(intake.port, EVENT).status == 202, what="it goes on")


@settings(TALLY_CONNECTION_IDLE_SECONDS="2")
@pytest.mark.parametrize(
    "trickle", [HEAD[:20] + b"\r\na: " + b"b" * 10_000, b"\r\n" * 5000, HEAD.replace(b"/events", b"/") + b"c" * 98]
)
def test_what_trickles_in_ends_too(intake: Intake, trickle: bytes) -> None:
    with ExitStack() as stack:
        connection = connected(stack, intake)
        for at in range(len(trickle)):
            try:
                connection.send(trickle[at : at + 1])
            except OSError:
                return
            time.sleep(0.05)  # a byte is not nothing
    raise AssertionError("it was read to its end")


def test_a_connection_that_is_answered_early_goes_on_behind_its_body(intake: Intake) -> None:
    with ExitStack() as stack:
        connection = connected(stack, intake)
        connection.sendall(HEAD.replace(b"/events", b"/nowhere") + b"x" * 50)
        assert answered(connection).startswith(b"HTTP/1.1 404 ")
        connection.sendall(b"x" * 49 + b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert ended(connection).startswith(b"HTTP/1.1 200 ")


@settings(TALLY_MAX_CONNECTIONS="20", TALLY_CONNECTION_IDLE_SECONDS="600")
def test_one_client_does_not_shut_out_the_others(intake: Intake, server: Server) -> None:
    """It has all connections: idle ones, half heads, half bodies. Another one's requests are answered nevertheless."""
    with ExitStack() as stack:
        other = connected(stack, intake, address="127.0.0.2")
        opened = [connected(stack, intake) for _ in range(30)]
        for at, connection in enumerate(opened):
            with suppress(OSError):
                connection.sendall([b"", HEAD[:30], HEAD + b"half"][at % 3])
        for _ in range(3):
            other.sendall(as_post(b"", chunked=False))
            assert answered(other).startswith(b"HTTP/1.1 202 "), "its idle connection was kept"
            one_more = connected(stack, intake, address="127.0.0.3")
            one_more.sendall(as_post(b"", chunked=False))
            assert answered(one_more).startswith(b"HTTP/1.1 202 ")
    assert intake.drain(server).events == 6
    refusals = [json.loads(line) for line in intake.process.log().splitlines() if CONNECTION_GIVES_WAY in line]
    assert {each["peer"] for each in refusals} == {"127.0.0.1"}
    assert len(refusals) < 10, "now and then"


@settings(TALLY_MAX_CONNECTIONS="5", TALLY_TRUSTED_PROXIES="127.0.0.1")
def test_connections_of_a_proxy_give_no_way(intake: Intake) -> None:
    with ExitStack() as stack:
        opened = [connected(stack, intake) for _ in range(5)]
        for connection in opened:
            connection.sendall(as_post(b"", chunked=False))
            assert answered(connection).startswith(b"HTTP/1.1 202 ")
        assert ended(connected(stack, intake, address="127.0.0.2")) == b"", "there is no room"
        for connection in opened:
            connection.sendall(as_post(b"", chunked=False))
            assert answered(connection).startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize("step", [100_000, 3000], ids=["at once", "in pieces"])
@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\na: " + b"b" * 70_000,
        b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * 12_000,
        b"GET /healthz?" + b"c" * 70_000 + b" HTTP/1.1\r\nhost: a",
        b"POST /events HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 12_000,
    ],
    ids=["header", "headers", "target", "trailers"],
)
def test_a_head_is_bounded_also_when_it_comes_at_once(intake: Intake, head: bytes, step: int) -> None:
    sent = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n" + head + b"\r\n\r\n"
    with ExitStack() as stack:
        connection = connected(stack, intake)
        with suppress(OSError):
            for at in range(0, len(sent), step):
                connection.sendall(sent[at : at + step])
        ended(connection)  # it may be cut off before the refusal is read
    wait_until(lambda: HEAD_TOO_LARGE.title in intake.process.log(), what="it is said")


@pytest.mark.parametrize(
    "malformed",
    [b"garbage\r\n\r\n", b"POST /events HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"],
    ids=["head", "body"],
)
def test_what_is_malformed_is_answered_behind_what_was_sent_before_it(
    intake: Intake, server: Server, malformed: bytes
) -> None:
    before = as_post(b"", chunked=False)
    answer = raw(intake.port, before * 3 + malformed + before)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"202"] * 3 + [b"400"]
    assert b"application/problem+json" in answer
    assert intake.drain(server).events == 3


@settings(TALLY_MAX_CONNECTIONS="1500", TALLY_MAX_BUFFERED_BYTES="65536", TALLY_MAX_BODY_BYTES="100000")
def test_many_slow_bodies_hold_no_more_than_they_may(intake: Intake, server: Server) -> None:
    """1,000 bodies that stand still in their middle: those that are too much are told so, and others go through."""
    allow_connections(1500)
    head = b"POST /events HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\ncontent-length: 99000\r\n\r\n"
    with ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection(("127.0.0.1", intake.port), timeout=60)) for _ in range(1000)
        ]
        for connection in opened:
            connection.sendall(head)
        wait_until(lambda: post(intake.port, EVENT).status == 202, what="it answers beside them")
        before_bytes = intake.process.resident_bytes()
        for connection in opened:
            connection.sendall(b"x" * 1000)
        refused = 0
        for connection in opened[100:]:
            connection.settimeout(0.001 if refused > 100 else 5)
            try:
                refused += connection.recv(12) == b"HTTP/1.1 429"
            except TimeoutError:
                continue
        assert refused > 100
        assert intake.process.resident_bytes() - before_bytes < 50_000_000
    wait_until(lambda: post(intake.port, EVENT).status == 202, what="there is room again")
    assert intake.drain(server).events == 2


def test_a_head_without_end_is_cut_off(intake: Intake) -> None:
    for begin in (
        b"GET /",
        b"GET / HTTP/1.1\r\na: ",
        b"POST /events HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: ",
    ):
        with socket.create_connection(("127.0.0.1", intake.port), timeout=30) as connection:
            connection.sendall(begin)
            with pytest.raises(OSError, match=r"reset|Broken"):
                connection.sendall(b"x" * 20_000_000)
    wait_until(lambda: post(intake.port, EVENT).status == 202, what="it goes on")


def test_a_stop_answers_what_it_has_begun(intake: Intake, server: Server) -> None:
    half = (EVENT + b"\n") * 1000
    head = (
        b"POST /events HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n"
        b"content-length: %d\r\nexpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", intake.port), timeout=30) as connection:
        connection.sendall(head % (2 * len(half)))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n", "the body is being read"
        connection.sendall(half)
        intake.process.send(signal.SIGTERM)
        wait_until(lambda: f'"{STOPPING}"' in intake.process.log(), what="it stops")
        connection.sendall(half)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert intake.process.wait(30) == 0
    assert answer.startswith(b"HTTP/1.1 202 "), answer
    assert answer.endswith(b'{"lines":2000}'), answer
    assert intake.drain(server).events == 2000
