"""A body of names is read within bounds of memory and time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi import Request
from starlette.types import Message

from api import bodies
from api.bodies import names_of
from api.memory import Memory, NoRoom
from tally.web.problem_types import BODY_TOO_SLOW, MALFORMED_BODY, ProblemError

BODY = json.dumps({"names": ["foo"] * 100}).encode()


def request(*messages: Message) -> Request:
    """One whose body comes in these messages, and then stops coming."""
    coming = list(messages)

    async def receive() -> Message:
        if not coming:
            await asyncio.Event().wait()
        return coming.pop(0)

    scope: dict[str, Any] = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
    return Request(scope, receive)


def part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_its_memory_is_held_until_it_is_answered() -> None:
    memory = Memory(10_000)
    async with names_of(request(part(BODY[:50], more=True), part(BODY[50:])), memory=memory) as names:
        assert names == ["foo"] * 100
        assert memory.held_bytes >= len(BODY)
    assert memory.held_bytes == 0


async def test_one_that_does_not_fit_is_refused_before_it_is_there() -> None:
    memory = Memory(100)
    with pytest.raises(NoRoom):
        async with names_of(request(part(BODY, more=True)), memory=memory):
            pass
    assert memory.held_bytes == 0


async def test_one_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_SECONDS", 0.01)
    with pytest.raises(ProblemError) as found:
        async with names_of(request(part(BODY[:50], more=True)), memory=Memory(10_000)):
            pass
    assert found.value.type is BODY_TOO_SLOW


async def test_one_whose_connection_is_closed_is_no_error_of_ours() -> None:
    with pytest.raises(ProblemError) as found:
        async with names_of(request(part(BODY[:50], more=True), {"type": "http.disconnect"}), memory=Memory(10_000)):
            pass
    assert found.value.type is MALFORMED_BODY
