"""A table goes on as fast as its client takes it, and ends early where it cannot go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import Request
from starlette.types import Message

from api import tables
from api.memory import Memory, NoRoom
from api.tables import TABLE_BYTES, Table
from api.work import Busy, Work
from tally.store import StoreUnavailable

MIB = 2**20


class Numbers:
    """So many rows with a number each; `fails_at` is the row at which Redis no longer answers."""

    columns = ("name", "count")

    def __init__(self, number: int, *, fails_at: int | None = None) -> None:
        self.number = number
        self.fails_at = fails_at
        self.made = 0

    async def slice(self, first: int, limit: int, *, most_bytes: int) -> list[dict[str, Any]]:
        if self.fails_at is not None and first >= self.fails_at:
            raise StoreUnavailable("it is away")
        rows = [{"name": f"n{at}", "count": at} for at in range(first, min(first + limit, self.number))]
        self.made += len(rows)
        return rows


class Client:
    """Takes messages while it `reads`, and may leave."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.left = asyncio.Event()

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.messages.append(message)

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def is_complete(self) -> bool:
        return self.messages[-1]["type"] == "http.response.body" and not self.messages[-1].get("more_body")


@pytest.fixture
def work() -> Iterator[Work]:
    made = Work()
    yield made
    made.close()


@pytest.fixture
def memory() -> Memory:
    return Memory(64 * MIB)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


async def give(rows: Numbers, client: Client, work: Work, memory: Memory) -> None:
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    made = Table(rows, "csv", request=Request(scope), made_of=(), headers={}, work=work, memory=memory)
    await made(scope, client.receive, client.send)


async def test_all_rows_come_in_parts(work: Work, memory: Memory) -> None:
    client = Client()
    await give(Numbers(10_001), client, work, memory)
    lines = client.body.decode().splitlines()
    assert lines == ["name,count", *(f"n{at},{at}" for at in range(10_001))]
    assert client.is_complete
    assert len(client.messages) > 5


async def test_no_more_is_made_than_the_client_takes(work: Work, memory: Memory) -> None:
    client, rows = Client(), Numbers(100_000)
    client.reads.clear()
    giving = asyncio.create_task(give(rows, client, work, memory))
    await until(lambda: rows.made > 0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert rows.made <= 4000
    assert memory.held_bytes == TABLE_BYTES
    client.reads.set()
    await giving
    assert (rows.made, memory.held_bytes, client.is_complete) == (100_000, 0, True)


async def test_nothing_is_made_for_a_client_that_has_left(work: Work, memory: Memory) -> None:
    client, rows = Client(), Numbers(10_000_000)
    giving = asyncio.create_task(give(rows, client, work, memory))
    await until(lambda: len(client.messages) > 2)
    client.left.set()
    await giving
    assert rows.made < 10_000_000
    assert memory.held_bytes == 0


async def test_a_client_that_takes_it_too_slowly_is_given_up(
    work: Work, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "SEND_SECONDS", 0.01)
    client = Client()
    client.reads.clear()

    async def take_the_head(message: Message) -> None:
        if message["type"] == "http.response.start":
            client.messages.append(message)
        else:
            await Client.send(client, message)

    client.send = take_the_head  # type: ignore[method-assign]
    await give(Numbers(100_000), client, work, memory)
    assert [message["type"] for message in client.messages] == ["http.response.start"]
    assert memory.held_bytes == 0


async def test_a_table_that_cannot_go_on_ends_without_an_end(work: Work, memory: Memory) -> None:
    """So that the client sees that it is not whole: what came is not told to be all."""
    client = Client()
    await give(Numbers(100_000, fails_at=6000), client, work, memory)
    assert client.body.decode().splitlines()[-1] == "n5999,5999"
    assert not client.is_complete


async def test_what_hinders_a_table_from_the_first_is_told(work: Work, memory: Memory) -> None:
    client = Client()
    with pytest.raises(StoreUnavailable):
        await give(Numbers(100_000, fails_at=0), client, work, memory)
    with pytest.raises(NoRoom):
        await give(Numbers(100_000), client, work, Memory(TABLE_BYTES - 1))
    assert client.messages == []


async def test_a_bounded_number_of_tables_is_sent_at_once(work: Work, memory: Memory) -> None:
    work.tables._slots = asyncio.Semaphore(1)
    work.tables._wait_seconds = 0.01
    first, second = Client(), Client()
    first.reads.clear()
    giving = asyncio.create_task(give(Numbers(10_000), first, work, memory))
    await until(lambda: memory.held_bytes > 0)
    with pytest.raises(Busy):
        await give(Numbers(10_000), second, work, memory)
    first.reads.set()
    await giving
    await give(Numbers(10_000), second, work, memory)
    assert second.is_complete


async def test_a_stop_ends_it_soon(work: Work, memory: Memory) -> None:
    client = Client()
    giving = asyncio.create_task(give(Numbers(10_000_000), client, work, memory))
    await until(lambda: len(client.messages) > 2)
    work.close()
    await giving
    assert not client.is_complete
