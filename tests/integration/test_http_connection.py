"""A server's connections, with clients that send too much ahead or take nothing of what is sent to them."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from tally.web import connection
from tally.web.connection import MAX_PIPELINED
from tally.web.limits import Limits
from tally.web.listening import listen
from tally.web.log_events import CONNECTION_GIVES_WAY, NOT_TAKEN
from tally.web.server import serve

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"

#: More than the buffers of both ends take.
LARGE_BYTES = 50_000_000


async def _large(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * LARGE_BYTES})


async def _small(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def _serving(app: Any, limits: Limits) -> AsyncIterator[int]:
    stop = asyncio.Event()
    with listen("127.0.0.1", 0, hint="") as listener:
        serving = asyncio.create_task(serve(app, listener, stop, limits=limits))
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            await serving


async def _stalled(port: int, address: str = "127.0.0.1") -> socket.socket:
    """A client that has asked, has got the beginning of the answer, and reads no more."""
    client = socket.socket()
    client.setblocking(False)
    client.bind((address, 0))
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(client, GET)
    assert (await loop.sock_recv(client, 10)).startswith(b"HTTP/1.1 2")
    return client


async def _wait_for(logs: list[Any], event: str) -> None:
    async with asyncio.timeout(60):
        while event not in [each["event"] for each in logs]:
            await asyncio.sleep(0.01)


async def test_requests_that_are_sent_ahead_are_bounded() -> None:
    async with _serving(_small, Limits()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET * (3 * MAX_PIPELINED))
        async with asyncio.timeout(60):
            answer = await reader.read(-1)
        writer.close()
    statuses = re.findall(rb"HTTP/1.1 (\d+)", answer)
    assert MAX_PIPELINED <= statuses.count(b"200") < 3 * MAX_PIPELINED
    assert statuses[-1] == b"429"
    assert b"sent ahead" in answer


async def test_requests_behind_each_other_are_all_answered_when_they_are_not_too_many() -> None:
    async with _serving(_small, Limits()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(5):
            writer.write(GET * MAX_PIPELINED)
            async with asyncio.timeout(60):
                for _ in range(MAX_PIPELINED):
                    assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_a_client_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TAKE_SECONDS", 0.2)
    with capture_logs() as logs:
        async with _serving(_large, Limits()) as port:
            with await _stalled(port):
                await _wait_for(logs, NOT_TAKEN)


async def test_a_client_that_takes_its_answer_slowly_gets_it_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TAKE_SECONDS", 60)
    async with _serving(_large, Limits()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET.replace(b"1.1", b"1.0"))
        async with asyncio.timeout(60):
            answer = await reader.read(-1)
        writer.close()
    assert answer.count(b"x") >= LARGE_BYTES


async def test_clients_that_take_nothing_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TAKE_SECONDS", 600)
    with capture_logs() as logs, ExitStack() as stack:
        async with _serving(_large, Limits(max_connections=3)) as port:
            for _ in range(3):
                stack.enter_context(await _stalled(port))
            stack.enter_context(await _stalled(port, "127.0.0.2"))  # which is answered
            await _wait_for(logs, CONNECTION_GIVES_WAY)
            stack.close()
    assert {each["peer"] for each in logs if each["event"] == CONNECTION_GIVES_WAY} == {"127.0.0.1"}


async def test_a_client_with_more_than_half_of_the_connections_makes_room_whatever_it_does_with_them() -> None:
    watching = asyncio.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await watching.wait()
            await send({"type": "http.response.body", "body": b""})

    async with _serving(endless, Limits(max_connections=3)) as port:
        stalled = [await _stalled(port) for _ in range(3)]
        other = await _stalled(port, "127.0.0.2")
        watching.set()
        for client in (*stalled, other):
            client.close()
