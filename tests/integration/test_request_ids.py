"""What is logged about a request can be found by the name in its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from tally.telemetry import get_logger, shared_context
from tally.web.limits import Limits
from tally.web.listening import listen
from tally.web.log_events import REQUEST_FAILED, REQUEST_REFUSED
from tally.web.refusals import LogRefusals
from tally.web.request_ids import REQUEST_ID
from tally.web.server import serve

GIVEN = "0af7651916cd43dd:8448-eb211c80319c"


async def _app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    get_logger().warning("asked", path=scope["path"])
    if scope["path"] == "/together":
        await asyncio.create_task(_tell("worked for several"), context=shared_context())
    if scope["path"] == "/fails":
        raise ZeroDivisionError
    status = 400 if scope["path"] == "/refused" else 200
    # As an application that is behind another one would: ours is the one that counts.
    await send({"type": "http.response.start", "status": status, "headers": [(b"X-Request-Id", b"another")]})
    if scope["path"] == "/breaks":
        raise ZeroDivisionError
    await send({"type": "http.response.body", "body": b"ok"})


async def _tell(event: str) -> None:
    get_logger().warning(event)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with _serving() as port:
        yield port


@asynccontextmanager
async def _serving() -> AsyncIterator[int]:
    stop = asyncio.Event()
    with listen("127.0.0.1", 0, hint="") as listener:
        serving = asyncio.create_task(serve(LogRefusals(_app), listener, stop, limits=Limits()))
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            await serving


Logs = list[MutableMapping[str, Any]]


@pytest.fixture
def logs() -> Iterator[Logs]:
    """What is logged, with what belongs to the task that does."""
    with capture_logs(processors=[merge_contextvars]) as logs:
        yield logs


async def _ask(port: int, path: str, *names: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(
            f"http://127.0.0.1:{port}{path}", headers=[(REQUEST_ID.encode(), each.encode()) for each in names]
        )


async def test_the_name_that_it_came_with_is_kept(port: int, logs: Logs) -> None:
    answer = await _ask(port, "/", GIVEN)
    assert answer.headers.get_list(REQUEST_ID) == [GIVEN]
    (line,) = logs
    assert (line["event"], line["request_id"], line["peer"]) == ("asked", GIVEN, "127.0.0.1")


@pytest.mark.parametrize(
    "names",
    [(), ("",), ("a b",), ('","level":"error',), ("x" * 129,), ("größe",), ("one", "two")],
    ids=["none", "empty", "blank", "quotes", "long", "not ASCII", "two"],
)
async def test_others_get_one_of_their_own(port: int, logs: Logs, names: tuple[str, ...]) -> None:
    made = [(await _ask(port, "/", *names)).headers[REQUEST_ID] for _ in range(2)]
    assert made[0] != made[1]
    assert [line["request_id"] for line in logs] == made
    assert not set(made) & set(names)


@pytest.mark.parametrize(
    ("told", "peer"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("2001:DB8::1", "2001:db8::1"),
        ('no address" ' + "x" * 5000, None),
        ("fe80::1%x", "fe80::1"),
    ],
    ids=["IPv4", "IPv6", "text", "zone"],
)
async def test_a_proxy_on_this_machine_says_who_asks_but_nothing_else(
    port: int, logs: Logs, told: str, peer: str | None
) -> None:
    async with httpx.AsyncClient() as client:
        await client.get(f"http://127.0.0.1:{port}/", headers={"X-Forwarded-For": told})
    assert [line["peer"] for line in logs] == [peer]


async def test_a_refusal_has_it(port: int, logs: Logs) -> None:
    answer = await _ask(port, "/refused", GIVEN)
    assert answer.headers[REQUEST_ID] == GIVEN
    assert [(line["event"], line["request_id"]) for line in logs] == [
        ("asked", GIVEN),
        (f"{REQUEST_REFUSED} with 400", GIVEN),
    ]


async def test_what_fails_is_one_line_with_it(port: int, logs: Logs, caplog: pytest.LogCaptureFixture) -> None:
    assert (await _ask(port, "/fails", GIVEN)).status_code == 500
    with pytest.raises(httpx.TransportError):
        await _ask(port, "/breaks", GIVEN)
    failed = [line for line in logs if line["event"] != "asked"]
    assert [(line["event"], line["path"], line["request_id"]) for line in failed] == [
        (REQUEST_FAILED, "/fails", GIVEN),
        (REQUEST_FAILED, "/breaks", GIVEN),
    ]
    assert all(isinstance(line["exc_info"], ZeroDivisionError) for line in failed)
    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []


async def test_what_works_for_several_is_of_none(port: int, logs: Logs) -> None:
    await _ask(port, "/together", GIVEN)
    of = {line["event"]: line.get("request_id") for line in logs}
    assert of == {"asked": GIVEN, "worked for several": None}


async def test_what_is_no_request_has_one_too(port: int, logs: Logs) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET / HTTP/1.1\r\nhost: a\r\n{REQUEST_ID}: {GIVEN}\r\n\r\nrubbish\r\n\r\n".encode())
    async with asyncio.timeout(60):
        answer = (await reader.read(-1)).decode()
    writer.close()
    await writer.wait_closed()
    names = [line.partition(": ")[2] for line in answer.splitlines() if line.lower().startswith("x-request-id: ")]
    assert len(names) == 2
    of = {line["event"]: line["request_id"] for line in logs}  # a request is asked in a task, and may come second
    assert of == {"asked": GIVEN, REQUEST_REFUSED: names[1]}
    assert names[0] == GIVEN != names[1]
