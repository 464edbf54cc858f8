"""Lines over TCP, TLS and unix sockets: each that was appended counts once, and nothing a client does costs memory."""

from __future__ import annotations

import json
import random
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme

from ingestor.log_events import LONGEST_LINES_CUT, UNFINISHED_DROPPED
from tally.keys import Keys
from tally.log_events import LISTENING
from tally.web.listening import allow_connections
from tally.web.log_events import TOO_MANY_CONNECTIONS
from tests.oracle import Expected, counted
from tests.processes import Process, running
from tests.senders import wait_for_port
from tests.server import Server, free_port
from tests.waiting import wait_until

KEYS = Keys()
EVENT = b'{"event_type": "a", "data": "b"}'


class Listener:
    """An ingestor with one listening source."""

    def __init__(self, server: Server, folder: Path, *, source: str = "", **variables: str) -> None:
        self.port = free_port()
        self.source = source or f"tcp://127.0.0.1:{self.port}"
        self._variables = {"TALLY_REDIS_URL": server.url, **variables}
        self.process = Process("ingestor", self.source, log=folder / "ingestor.log", **self._variables)
        self._server = server
        self._folder = folder

    def start(self) -> None:
        self.process.start()
        wait_until(self.listening, what="the ingestor listens")

    def listening(self) -> bool:
        assert self.process.exit_code is None, self.process.log()
        return f'"{LISTENING}"' in self.process.log()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def has_lines_of(self, senders: int) -> bool:
        """Whether lines of each of so many senders are in the stream."""
        with redis.Redis(port=self._server.port, socket_timeout=30) as client:  # which decodes nothing
            lines = b"\n".join(fields[b"lines"] for _, fields in client.xrange(KEYS.stream))
        return all(b'"s%d"' % sender in lines for sender in range(senders))

    def drain(self) -> Expected:
        """Count what was appended."""
        drain = Process("aggregator", "--drain", log=self._folder / "drain.log", **self._variables)
        with running(drain):
            assert drain.wait() == 0, drain.log()
        with self._server.client() as client:
            return counted(client)


@pytest.fixture
def listener(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Listener]:
    made = Listener(server, tmp_path, **getattr(request, "param", {}))
    with running(made.process):
        wait_until(made.listening, what="the ingestor listens")
        yield made


def settings(**variables: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("listener", [variables], indirect=True, ids=[""])


def numbered(sender: int, at: int) -> bytes:
    return json.dumps({"event_type": f"s{sender}", "data": f"id{sender}x{at}"}).encode() + b"\n"


@settings(TALLY_MAX_BLOCK_BYTES="4096", TALLY_MAX_LINE_BYTES="2000")
def test_lines_of_many_connections_never_mix(listener: Listener) -> None:
    """Each sends its lines in pieces of any size; the last line of each has no end."""
    chance = random.Random(3)
    streams = []
    for sender in range(40):
        lines = [numbered(sender, at) for at in range(200)]
        lines[5] = b'{"event_type": "long", "data": "' + b"y" * 3000 + b'"}\n'
        lines[6] = b"garbage \xff\r\n"
        lines[7] = b"\n"
        streams.append(b"".join(lines).removesuffix(b"\n"))
    with ExitStack() as stack:
        connections = [stack.enter_context(listener.connect()) for _ in streams]
        at = [0] * len(streams)
        while open_ := [each for each in range(len(streams)) if at[each] < len(streams[each])]:
            sender = chance.choice(open_)
            size = chance.choice([1, 7, 100, 5000])
            connections[sender].sendall(streams[sender][at[sender] : at[sender] + size])
            at[sender] += size
        # What the kernel has not handed over when it stops is nobody's.
        wait_until(lambda: listener.has_lines_of(len(streams)), what="each connection is accepted")
    assert listener.process.stop() == 0, listener.process.log()
    lines = [line for stream in streams for line in stream.split(b"\n")]
    expected = Expected.of([line for line in lines if len(line) <= 2000])
    expected.rejected += sum(len(line) > 2000 for line in lines)
    assert listener.drain() == expected


def test_killed_ingestors_count_no_line_twice(server: Server, tmp_path: Path) -> None:
    """TCP tells nobody what was taken, so these senders go on with the next line. What was lost stays small."""
    chance = random.Random(5)
    listener = Listener(server, tmp_path, TALLY_MAX_BLOCK_BYTES="2048")
    over = threading.Event()
    sent = [0] * 4

    def send(sender: int) -> None:
        connection: socket.socket | None = None
        while not over.is_set():
            try:
                connection = connection or listener.connect()
                connection.sendall(b"".join(numbered(sender, sent[sender] + at) for at in range(20)))
                time.sleep(0.001)
            except OSError:
                if connection is not None:
                    connection.close()
                connection = None
                time.sleep(0.05)
            sent[sender] += 20
        if connection is not None:
            connection.close()

    aggregator = Process("aggregator", log=tmp_path / "aggregator.log", TALLY_REDIS_URL=server.url)
    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
    with running(listener.process, aggregator), server.client() as client:
        wait_for_port(listener.port)
        for thread in threads:
            thread.start()
        for _ in range(3):
            before: Any = client.hget(KEYS.totals, "events")
            wait_until(lambda before=before: client.hget(KEYS.totals, "events") != before, what="events are counted")  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.3))  # when the kill comes is what is random here
            assert listener.process.kill()
            listener.process.start()
            wait_for_port(listener.port)
        over.set()
        for thread in threads:
            thread.join()
        assert listener.process.stop() == 0
        aggregator.stop()
    found = listener.drain()
    assert found.events > 1000
    assert max(found.words.values()) == 1, "no line counted twice"
    ids = [word.removeprefix("id").split("x") for word in found.words]
    assert all(int(at) < sent[int(sender)] for sender, at in ids), "nothing that was not sent"
    assert found.events == len(found.words)
    assert found.rejected <= 4 * 4, "a line that was cut by a kill"


@pytest.mark.slow
@settings(TALLY_MAX_BACKLOG_BLOCKS="4", TALLY_MAX_BLOCK_BYTES="131072", TALLY_MAX_BLOCKS_IN_FLIGHT="2")
def test_a_full_stream_makes_senders_wait(listener: Listener, server: Server, tmp_path: Path) -> None:
    line = EVENT + b"\n"
    before_bytes = listener.process.resident_bytes()
    with ExitStack() as stack:
        connections = [stack.enter_context(listener.connect()) for _ in range(5)]
        sent = [0] * len(connections)

        def blocked() -> bool:
            """Whether nobody can send any more, for half a second."""
            for _ in range(10):
                moved = False
                for at, connection in enumerate(connections):
                    connection.setblocking(False)
                    with suppress(BlockingIOError):
                        while True:
                            sent[at] += connection.send((line * 2000)[sent[at] % len(line) :])
                            moved = True
                if moved:
                    return False
                time.sleep(0.05)
            return True

        wait_until(blocked, what="nobody can send any more")
        assert listener.process.resident_bytes() - before_bytes < 30_000_000
        with server.client() as client:
            assert client.xlen(KEYS.stream) == 4
        aggregator = Process("aggregator", log=tmp_path / "aggregator.log", TALLY_REDIS_URL=server.url)
        with running(aggregator):
            for at, connection in enumerate(connections):
                connection.setblocking(True)
                connection.sendall(line[sent[at] % len(line) :] if sent[at] % len(line) else b"")
                sent[at] += -sent[at] % len(line)
                connection.close()
            total = sum(sent) // len(line)
            with server.client() as client:
                wait_until(lambda: client.hget(KEYS.totals, "events") == str(total), what="all of it is counted")
    assert listener.drain().rejected == 0


def test_a_line_without_end_costs_no_memory(listener: Listener) -> None:
    with listener.connect() as connection:
        connection.sendall(b"x" * 4_000_000)
        before_bytes = listener.process.resident_bytes()
        for _ in range(60):
            connection.sendall(b"x" * 1_000_000)
        assert listener.process.resident_bytes() - before_bytes < 20_000_000
        connection.sendall(b"\n" + EVENT)
    assert listener.process.stop() == 0
    found = listener.drain()
    assert (found.events, found.rejected) == (1, 1)


@pytest.mark.slow
@settings(TALLY_MAX_CONNECTIONS="3000", TALLY_MAX_BUFFERED_BYTES="1000000")
def test_thousands_of_slow_connections_hold_no_more_than_they_may(listener: Listener) -> None:
    """2,000 unfinished lines of 1,000 bytes are twice what may be held: the longest are cut, and say so."""
    allow_connections(3000)
    with ExitStack() as stack:
        connections = [stack.enter_context(listener.connect()) for _ in range(2000)]
        time.sleep(0.2)
        before_bytes = listener.process.resident_bytes()
        for size in (500, 499, 1):
            for at, connection in enumerate(connections):
                beginning = b'{"event_type": "slow", "data": "' if size == 500 else b""
                connection.sendall(beginning + b"y" * (size - len(beginning) + at % 2))
        wait_until(lambda: LONGEST_LINES_CUT in listener.process.log(), what="they are too much")
        for connection in connections:
            connection.sendall(b'"}\n' + EVENT + b"\n")
        assert listener.process.resident_bytes() - before_bytes < 20_000_000
    assert listener.process.stop() == 0
    found = listener.drain()
    assert found.types["a"] == 2000, "what comes behind a line that was cut is counted"
    assert found.types["slow"] + found.rejected == 2000
    assert found.rejected > 100


@settings(TALLY_MAX_CONNECTIONS="3")
def test_one_connection_too_many_is_closed(listener: Listener) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(listener.connect()) for _ in range(3)]
        for connection in connections:
            connection.sendall(EVENT + b"\n")
        for _ in range(5):
            with listener.connect() as refused, suppress(ConnectionResetError):
                assert refused.recv(1) == b""
        connections.pop().close()

        def taken() -> bool:
            again = listener.connect()
            again.settimeout(0.2)
            try:
                return again.recv(1) != b""
            except TimeoutError:
                again.sendall(EVENT + b"\n")
                return True
            except ConnectionResetError:
                return False
            finally:
                again.close()

        wait_until(taken, what="there is room again")
    assert listener.process.stop() == 0
    assert listener.process.log().count(TOO_MANY_CONNECTIONS) == 1, "it is not said every time"
    assert listener.drain().events == 4


@settings(TALLY_CONNECTION_IDLE_SECONDS="0.5")
def test_a_silent_connection_is_closed_and_one_that_speaks_is_not(listener: Listener) -> None:
    with listener.connect() as silent, listener.connect() as speaking:
        silent.sendall(EVENT)
        silent.settimeout(0.1)
        closed = False
        for _ in range(100):
            speaking.sendall(b" ")
            try:
                closed = silent.recv(1) == b""
                break
            except TimeoutError:
                continue
        assert closed
        speaking.sendall(EVENT + b"\n")
    assert listener.process.stop() == 0
    assert listener.drain().events == 2, "the line that it had not ended is one"


@pytest.mark.parametrize("listener", [{"source": "unix:tally.sock"}], indirect=True)
def test_a_unix_socket(listener: Listener, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "tally.sock"
    assert path.stat().st_mode & 0o777 == 0o660

    def send() -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(EVENT + b"\n" + EVENT)

    send()
    other = Process("ingestor", f"unix:{path}", log=tmp_path / "other.log", TALLY_REDIS_URL=server.url)
    with running(other):
        assert other.wait() == 1
        assert "another process does" in other.log()
    assert listener.process.stop() == 0
    assert not path.exists()
    listener.process.start()
    wait_until(lambda: listener.process.log().count(f'"{LISTENING}"') == 2, what="it listens again")
    listener.process.kill()
    assert path.is_socket(), "left behind"
    listener.process.start()
    wait_until(lambda: listener.process.log().count(f'"{LISTENING}"') == 3, what="it is replaced")
    send()
    assert listener.process.stop() == 0
    assert listener.drain().events == 4


def test_tls_with_a_certificate_of_our_own(server: Server, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    port = free_port()
    listener = Listener(
        server,
        tmp_path,
        source=f"tls://localhost:{port}",
        TALLY_TLS_CERTIFICATE_PATH=str(chain),
        TALLY_TLS_KEY_PATH=str(key),
    )
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with running(listener.process):
        wait_until(listener.listening, what="it listens")
        with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
            plain.sendall(EVENT + b"\n")  # not TLS: refused
            with suppress(ConnectionResetError):
                plain.recv(100)
        with (
            socket.create_connection(("127.0.0.1", port), timeout=60) as connection,
            context.wrap_socket(connection, server_hostname="localhost") as encrypted,
        ):
            for _ in range(1000):
                encrypted.sendall((EVENT + b"\n") * 100)
            encrypted.unwrap()
        wait_until(lambda: server_length(server) > 0, what="something is appended")
        assert listener.process.stop() == 0
    assert listener.drain() == Expected.of([EVENT] * 100_000)


def server_length(server: Server) -> int:
    with server.client() as client:
        length: Any = client.xlen(KEYS.stream)
        return int(length)


@pytest.mark.parametrize(
    ("source", "variables", "says"),
    [
        ("tls://localhost:1", {}, "set TALLY_TLS_CERTIFICATE_PATH"),
        ("https://localhost:1", {"TALLY_TLS_CERTIFICATE_PATH": "/dev/null"}, "TALLY_TLS_CERTIFICATE_PATH=/dev/null"),
        ("tcp://localhost", {}, "names no port; it is tcp://HOST:PORT"),
    ],
)
def test_what_cannot_work_is_said_at_the_start(
    server: Server, tmp_path: Path, source: str, variables: dict[str, str], says: str
) -> None:
    process = Process("ingestor", source, log=tmp_path / "log", TALLY_REDIS_URL=server.url, **variables)
    with running(process):
        assert process.wait(30) in (1, 2)
        assert says in process.log()


def _has_ipv6() -> bool:
    """Whether ::1 is an address of this machine; in many containers it is none."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
def test_ipv6_and_a_stop_in_the_middle_of_a_line(server: Server, tmp_path: Path) -> None:
    port = free_port()
    listener = Listener(server, tmp_path, source=f"tcp://[::1]:{port}")
    with running(listener.process):
        wait_until(listener.listening, what="it listens")
        with socket.create_connection(("::1", port), timeout=60) as connection:
            connection.sendall(EVENT + b"\n" + EVENT)
            listener.process.send(signal.SIGTERM)
            assert listener.process.wait(30) == 0
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""
    assert listener.drain() == Expected.of([EVENT]), "a line that we cut off ourselves is no line"
    assert UNFINISHED_DROPPED in listener.process.log()
