"""Which body gives way when there is no room for all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest

from ingestor.bodies import BodyRefused
from ingestor.body_buffers import Body, BodyBuffers
from tally.peers import Peers, parse_networks


async def nothing() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


class Sending:
    """Bodies that are being sent, from addresses, and wait for more."""

    def __init__(self, stack: ExitStack, *, most: int, trusted: str = "") -> None:
        self.buffers = BodyBuffers(
            max_buffered_bytes=most,
            max_body_seconds=60,
            pace_seconds=60,
            peers=Peers(parse_networks(trusted)),
            label="http://a",
        )
        self._stack = stack
        self.refused: list[Body] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def body(self, address: str, size: int, *, silent_seconds: float = 0.0) -> Body:
        """A body of which so much came so long ago."""
        body = self._stack.enter_context(self.buffers.body(address))

        async def wait() -> None:
            with pytest.raises(BodyRefused, match="Too much is being sent at once"):
                await anext(body.chunks(nothing()))
            self.refused.append(body)

        self.tasks.append(asyncio.create_task(wait()))
        await asyncio.sleep(0)
        assert body.waits
        self.buffers.grow(body, size)
        body.came_at -= silent_seconds
        return body

    async def given_way(self) -> list[Body]:
        """Those that were told to, once they know."""
        for _ in range(3):
            await asyncio.sleep(0)
        return self.refused


async def ended(sending: Sending) -> None:
    for task in sending.tasks:
        task.cancel()
    await asyncio.gather(*sending.tasks, return_exceptions=True)


async def test_of_those_that_have_stalled_the_one_that_did_so_first_gives_way() -> None:
    with ExitStack() as stack:
        sending = Sending(stack, most=100)
        for silent in (0.0, 5.0, 9.0):
            await sending.body("10.0.0.1", 30, silent_seconds=silent)
        stalled_longest = await sending.body("10.0.0.2", 10, silent_seconds=20.0)
        new = await sending.body("10.0.0.1", 5)
        assert await sending.given_way() == [stalled_longest]
        assert not new.gave_way
        await ended(sending)


async def test_the_client_that_holds_the_most_gives_way_to_another() -> None:
    with ExitStack() as stack:
        sending = Sending(stack, most=100)
        few = await sending.body("10.0.0.2", 40)
        many = [await sending.body("10.0.0.1", 20) for _ in range(3)]
        with pytest.raises(BodyRefused):
            await sending.body("10.0.0.1", 10)
        assert await sending.given_way() == [], "not to itself"
        await sending.body("10.0.0.3", 30)
        assert await sending.given_way() == many[:2]
        assert not few.gave_way
        await ended(sending)


async def test_an_address_that_many_share_gives_way_only_where_something_stalls() -> None:
    with ExitStack() as stack:
        sending = Sending(stack, most=100, trusted="10.9.0.0/16")
        shared = [await sending.body("10.9.0.1", 45) for _ in range(2)]
        with pytest.raises(BodyRefused):
            await sending.body("10.0.0.3", 20)
        shared[1].came_at -= 5.0
        await sending.body("10.0.0.3", 20)
        assert await sending.given_way() == [shared[1]]
        await ended(sending)


async def test_a_body_that_is_being_appended_does_not_give_way() -> None:
    with ExitStack() as stack:
        sending = Sending(stack, most=100)
        body = stack.enter_context(sending.buffers.body("10.0.0.1"))
        sending.buffers.grow(body, 90)
        body.came_at -= 60.0
        with pytest.raises(BodyRefused):
            await sending.body("10.0.0.3", 20)
        await ended(sending)


async def test_there_is_room_again_for_what_is_gone() -> None:
    with ExitStack() as stack:
        sending = Sending(stack, most=100)
        for _ in range(5):
            with ExitStack() as one:
                body = one.enter_context(sending.buffers.body("10.0.0.1"))
                sending.buffers.grow(body, 60)
                sending.buffers.grow(body, 100)
        await sending.body("10.0.0.1", 100)
        await ended(sending)


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("192.168.7.9", None),
        ("::ffff:192.168.7.9", None),
        ("fd00::7", None),
        (None, None),
        ("", None),
    ],
)
def test_who_a_client_is(address: str | None, peer: str | None) -> None:
    assert Peers(parse_networks(" 192.168.0.0/16, fd00::7")).of(address) == peer


@pytest.mark.parametrize("text", ["localhost", "10.0.0.1/8", "10.0.0.0/8;fd00::/8"])
def test_what_is_no_network_is_said_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"right are addresses or networks"):
        parse_networks(text)
