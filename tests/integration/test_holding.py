"""How long the server was held is read off its SLOWLOG, by script and command."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha1

import pytest
import redis

from tally.store.lua import assembled
from tests.holding import Holding
from tests.server import Server

BUSY = "local sum = 0 for number = 1, tonumber(ARGV[1]) do sum = sum + number end return sum"


def test_every_script_and_command_is_told_by_its_name(server: Server) -> None:
    append = assembled("append")
    holding = Holding(server.port)
    with server.client() as client, suppress(redis.ResponseError):
        client.eval(BUSY, 0, 10_000_000)
        client.ping()
        client.xinfo_stream("missing")
    with server.client() as client:
        for call in (client.evalsha, client.eval, client.evalsha):  # as a store does it; the first finds no script
            with pytest.raises(redis.ResponseError):
                call(append if call == client.eval else sha1(append.encode()).hexdigest(), 0)
    found = holding.seconds()
    holding.close()
    assert {"EVAL", "PING", "XINFO STREAM", "append.lua"} <= set(found)
    assert found["EVAL"][0] >= 0.001
    assert len(found["append.lua"]) == 2
