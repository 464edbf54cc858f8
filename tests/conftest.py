"""Fixtures that all tests share. Each test has a server without any key."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from weakref import WeakKeyDictionary

import pytest
from redis.asyncio import Redis

from tally import log_throttle
from tally.settings import Settings
from tally.store import connect
from tally.store.shards import Shards, connect_shards
from tests.effort import further_variants
from tests.server import Server
from tests.users import as_its_user, refusals

#: What is wrong where a service was refused something, though that should be known before.
NOT_DECLARED = "a service does in Redis what tally/store/users.py does not say of it"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only the thorough way runs."""
    left_out = list(further_variants(items))
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings come from the test alone: no variables of this shell, no .env, no server of a `tally up` nearby."""
    for variable in list(os.environ):
        if variable.startswith("TALLY_") and variable != "TALLY_TEST_SERVER":
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests have logged in this process is no reason not to log it again."""
    monkeypatch.setattr(log_throttle, "_told", WeakKeyDictionary())


@pytest.fixture(autouse=True)
def _api_as_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """An api in this process, too, is the user of its own, if it makes its client itself."""

    def connect_as_api(settings: Settings) -> Shards:
        url = settings.redis_url and as_its_user(settings.redis_url, "api")
        return connect_shards(settings.model_copy(update={"redis_url": url}))

    monkeypatch.setattr("api.app.connect_shards", connect_as_api)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """A real server, empty. Not to be killed: that is what `durable_server` is for."""
    with shared_server.client() as client:
        client.flushall()
        refusals(client)
        yield shared_server
        assert not refusals(client), NOT_DECLARED


@pytest.fixture
def durable_server(tmp_path: Path) -> Iterator[Server]:
    """A real server of the test's own, with an append-only file: it may be killed and started again."""
    folder = tmp_path / "server"
    folder.mkdir()
    server = Server(folder, durable=True)
    server.start()
    yield server
    if server.process.exit_code is None:
        with server.client() as client:
            assert not refusals(client), NOT_DECLARED
    server.kill()


@pytest.fixture
def settings(server: Server) -> Settings:
    """The defaults, with the real server."""
    return Settings(redis_url=server.url)


@pytest.fixture
async def durable_redis(durable_server: Server) -> AsyncIterator[Redis]:
    """Tally's own client of that server."""
    client = connect(durable_server.url, timeout_seconds=30)
    yield client
    await client.aclose()


@pytest.fixture
async def redis(server: Server) -> AsyncIterator[Redis]:
    """Tally's own client of the real server."""
    client = connect(server.url, timeout_seconds=30)
    yield client
    await client.aclose()
