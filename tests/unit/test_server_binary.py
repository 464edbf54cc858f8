"""The server that comes with Tally is found, or it is said what to do without it."""

from __future__ import annotations

import os

import pytest

from tally.local import server_binary as module
from tally.local.server_binary import server_binary
from tally.runtime import Failure


def test_the_server_can_be_run() -> None:
    assert os.access(server_binary(), os.X_OK)


@pytest.mark.parametrize(("name", "value"), [("_PACKAGE", "no-such-package"), ("_PROGRAM", "no-such-program")])
def test_without_a_server_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setattr(module, name, value)
    with pytest.raises(Failure, match="set TALLY_REDIS_URL"):
        server_binary()
