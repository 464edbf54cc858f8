"""Services are stopped and started in any order, as by an upgrade: every event is counted exactly once all the same."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest
import redis

from tally.generator import Generator, GeneratorSpec
from tally.keys import Keys
from tally.log_events import REDIS_UNAVAILABLE
from tally.shards import tags
from tests.chaos.test_kills import SMALL
from tests.oracle import Expected, counted
from tests.processes import Process, running
from tests.senders import listens
from tests.server import Server, free_port
from tests.waiting import wait_until

LINES = 20_000


class Sender:
    """Posts bodies, one after the other, each under its key until it is answered with 202, until it is told to end."""

    def __init__(self, port: int, *, name: str) -> None:
        self.sent: list[bytes] = []
        self._port = port
        self._name = name
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Send no more; what was begun is sent until it is answered."""
        self._ended.set()
        self._thread.join()

    def _send(self) -> None:
        with httpx.Client(timeout=60, trust_env=False) as http:
            while not self._ended.is_set():
                key = f"{self._name}-{len(self.sent)}"
                line = json.dumps({"event_type": f"of {self._name}", "data": f"{key} posted"}).encode()
                while not self._is_taken(http, line, key):
                    self._ended.wait(0.05)  # as clients do before they try again
                self.sent.append(line)

    def _is_taken(self, http: httpx.Client, line: bytes, key: str) -> bool:
        try:
            url = f"http://127.0.0.1:{self._port}/events"
            return http.post(url, content=line, headers={"Idempotency-Key": key}).status_code == 202
        except httpx.TransportError:
            return False


class Writer:
    """Appends lines to a file that is followed, some at a time, until it is told to end."""

    def __init__(self, path: Path, *, seed: int) -> None:
        chunks = Generator(GeneratorSpec(count=1_000_000, seed=seed, corrupt=0.05)).lines()
        self._lines = (line for chunk in chunks for line in chunk.split(b"\n") if line)
        self._path = path
        path.touch()

    def write(self, lines: int = 500) -> None:
        with self._path.open("ab") as file:
            file.write(b"".join(next(self._lines) + b"\n" for _ in range(lines)))


def _counted(client: redis.Redis, keys: Sequence[Keys]) -> Expected:
    """Return what all shards come to."""
    found = Expected()
    for each in keys:
        found += counted(client, each)
    return found


def _answers(port: int) -> dict[str, int] | None:
    """Return what an api says of types; None while it does not answer."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/events/CountByEventType", timeout=30)
    except httpx.TransportError:
        return None
    return dict(answer.json()) if answer.status_code == 200 else None


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 3])
def test_a_rolling_restart_of_everything_loses_and_doubles_nothing(
    durable_server: Server, many_events: tuple[Path, Expected], tmp_path: Path, shards: int
) -> None:
    """Several of each, one by one: with SIGTERM, then with SIGKILL, and the server in the middle, under load."""
    server = durable_server
    url = {"TALLY_REDIS_URL": server.url, "TALLY_SHARDS": str(shards), "TALLY_STRIPE_BYTES": "65536", **SMALL}
    keys = [Keys(tag) for tag in tags(shards)]
    file, of_file = many_events
    intakes, apis = [free_port() for _ in range(2)], [free_port() for _ in range(2)]
    writers = [Writer(tmp_path / f"followed-{at}.log", seed=at) for at in range(2)]
    reader = Process("ingestor", str(file), log=tmp_path / "reader.log", **url)
    ingestors = [
        Process(
            "ingestor",
            f"tail:{tmp_path}/followed-{at}.log",
            f"http://127.0.0.1:{port}",
            log=tmp_path / f"ingestor-{at}",
            **url,
        )
        for at, port in enumerate(intakes)
    ]
    aggregators = [Process("aggregator", log=tmp_path / f"aggregator-{at}", **url) for at in range(3)]
    answering = [Process("api", log=tmp_path / f"api-{port}", TALLY_HTTP_PORT=str(port), **url) for port in apis]
    services = [reader, *ingestors, *aggregators, *answering]
    with running(*services), server.client() as client:

        def lines() -> int:
            return sum(int(client.hget(each.totals, "lines") or 0) for each in keys)

        def goes_on() -> None:
            before = lines()
            for writer in writers:
                writer.write()
            wait_until(lambda: lines() > before, what="something more is counted")

        def restart(service: Process, how: signal.Signals) -> None:
            goes_on()
            if service is reader and service.exit_code is not None:
                return  # it has read all
            service.send(how)
            code = service.wait()
            assert code == -signal.SIGKILL if how == signal.SIGKILL else code in (0, 1), service.log()[-2000:]
            assert how == signal.SIGKILL or code == 0 or service is reader, service.log()[-2000:]
            service.start()

        with Sender(intakes[0], name="first") as first, Sender(intakes[1], name="second") as second:
            for how in (signal.SIGTERM, signal.SIGKILL):
                for service in services:
                    restart(service, how)
                server.stop()
                server.start()
                goes_on()
            senders = [first, second]
            for sender in senders:
                sender.end()
        assert all(len(sender.sent) > 5 for sender in senders), "they were at work"
        while reader.wait() != 0:
            reader.start()
        followed = [line for at in range(2) for line in (tmp_path / f"followed-{at}.log").read_bytes().split(b"\n")]
        want = of_file + Expected.of([*followed, *(line for sender in senders for line in sender.sent)])
        wait_until(lambda: lines() >= want.lines, what="all is counted")
        for aggregator in aggregators:
            assert aggregator.stop() == 0, aggregator.log()[-2000:]
        assert want.difference(_counted(client, keys)) == ""
        for each in keys:
            assert int(client.hget(each.totals, "lost") or 0) == client.xlen(each.dead_letters) == 0
        for port in apis:
            wait_until(lambda port=port: _answers(port) == want.types, what="each api says so")  # type: ignore[misc]


@pytest.mark.parametrize("shards", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "order",
    [
        ["api", "aggregator", "ingestor", "server"],
        pytest.param(["ingestor", "server", "api", "aggregator"], marks=pytest.mark.slow),
        pytest.param(["server", "api", "ingestor", "aggregator"], marks=pytest.mark.slow),
        pytest.param(["server", "aggregator", "api", "ingestor"], marks=pytest.mark.slow),
    ],
    ids="-".join,
)
def test_the_order_of_the_start_does_not_matter(
    durable_server: Server, tmp_path: Path, order: Sequence[str], shards: int
) -> None:
    """Each is at work, or waits for what is not there yet, before the next one is started."""
    server = durable_server
    server.stop()
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"".join(Generator(GeneratorSpec(count=LINES, seed=3)).lines()))
    want = Expected.of(path.read_bytes().split(b"\n"))
    port, intake = free_port(), free_port()
    url = {"TALLY_REDIS_URL": server.url, "TALLY_SHARDS": str(shards), "TALLY_HTTP_PORT": str(port)}
    services = {
        "ingestor": Process("ingestor", f"tail:{path}", f"http://127.0.0.1:{intake}", log=tmp_path / "ingestor", **url),
        "aggregator": Process("aggregator", log=tmp_path / "aggregator", **url),
        "api": Process("api", log=tmp_path / "api", **url),
    }
    is_up: dict[str, Callable[[], bool]] = {
        "server": server.answers,
        "ingestor": lambda: listens(intake),
        "aggregator": lambda: services["aggregator"].has_begun,
        "api": lambda: listens(port),
    }
    try:
        for name in order:
            if name == "server":
                server.start()
            else:
                services[name].start()
            wait_until(is_up[name], what=f"{name} is up")
            if name == "aggregator" and not server.answers():
                wait_until(lambda: REDIS_UNAVAILABLE in services["aggregator"].log(), what="it waits for Redis")
        wait_until(lambda: _answers(port) == want.types, what="all is counted, and said")
        for service in services.values():
            assert service.stop() == 0, service.log()[-2000:]
    finally:
        for service in services.values():
            service.kill()
    with server.client() as client:
        assert want.difference(_counted(client, [Keys(tag) for tag in tags(shards)])) == ""
