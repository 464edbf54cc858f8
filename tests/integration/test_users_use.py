"""What the users of the services are allowed is used, all of it: what nothing needs any more is nobody's right."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import httpx
import pytest
import redis as blocking_redis

from api.app import create_app
from tally.keys import GROUP, Keys, words_of
from tally.settings import Settings
from tally.store import Block, IngestorStore, PipelineStore
from tally.store.idempotent import Body
from tally.store.layouts import LayoutStore
from tally.store.shards import open_shards
from tally.store.users import AGGREGATOR, API, INGESTOR, NAMES, User
from tests.processes import run
from tests.server import Server
from tests.users import refusals, rules_of, url_of
from tests.waiting import wait_until, wait_until_async

KEYS = Keys()
NOW = 1_600_000_000
EVENT = '{{"event_type":"{}","data":"{}","timestamp":{}}}\n'

#: What MONITOR does not tell of, and what is needed only where there are several nodes.
NOT_SEEN = {"bgrewriteaof", "cluster|slots"}

_CONTAINERS = {"xgroup", "xinfo", "script", "cluster", "memory", "client"}


@dataclass
class Used:
    """The commands that a server has run, those inside of scripts among them, and the keys that stood in them."""

    commands: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)

    def unused_of(self, user: User) -> set[str]:
        """Return the commands, and the patterns of keys, that a user may use and that were not."""
        confined = {command for commands in user.confined or {} for command in commands}
        patterns = set(re.findall(r"~(\S+?)\)?(?: |$)", " ".join(user.rules(KEYS.namespace))))
        unused = {each for each in patterns if not any(fnmatchcase(key, _as_glob(each)) for key in self.keys)}
        return unused | {*user.commands, *confined} - self.commands - NOT_SEEN


def _as_glob(pattern: str) -> str:
    return pattern.replace("[0-9]*", "\0").replace("*", "?*").replace("\0", "[0-9]*")


class Watch:
    """What a server runs, by its MONITOR."""

    def __init__(self, server: Server, client: blocking_redis.Redis, monitor: Any) -> None:
        self._client = client
        self._monitor = monitor

    def seen(self) -> Used:
        """Return what was run since this was asked for the last time."""
        self._client.echo("that is all")
        found = Used()
        for line in self._monitor.listen():
            words = line["command"].split(" ")
            if words[0] == "ECHO":
                return found
            name = words[0].lower()
            found.commands.add(f"{name}|{words[1].lower()}" if name in _CONTAINERS else name)
            found.keys.update(re.findall(r'tally:\{\d+\}[^ "\\]*', line["command"]))
        raise AssertionError("the server has ended")


@contextmanager
def watched(server: Server) -> Iterator[Watch]:
    with server.client() as client, client.monitor() as monitor:
        yield Watch(server, client, monitor)


@pytest.fixture
def users(durable_server: Server) -> Server:
    """A server with the users, each for the keys of one namespace."""
    with durable_server.client() as client:
        for name in NAMES:
            client.execute_command("ACL", "SETUSER", name, *rules_of(name))
    return durable_server


def _settings(server: Server, user: str, **more: Any) -> Settings:
    return Settings(redis_url=url_of(server.url, user), **more)


async def _ingest(server: Server) -> None:
    """Do all that an ingestor does."""
    settings = _settings(server, "ingestor", max_idempotency_keys=100)
    async with open_shards(settings, stop=asyncio.Event(), for_writing=True) as (shard,):
        await LayoutStore(shard.redis, keys=shard.keys, settings=settings).ensure_format()
        store = IngestorStore(shard.redis, keys=shard.keys, settings=settings)
        await store.check_start()
        await PipelineStore(shard.redis, keys=shard.keys, settings=settings).check_writable()
        await store.create_group()
        await store.server_seconds()
        for source in ("file:/a", "-left:behind", "tail:/b"):
            await store.append(source=source, blocks=[Block(0, 2, b"x", "1-1")], bulk=True)
        await store.has_room()
        await store.position("file:/a")
        for at in range(2):
            bodies = [Body(key=f"{at}-{each}", digest="d", keep_ms=60_000, blocks=[b"x"]) for each in range(60)]
            await store.append_once(source="http:a", bodies=[*bodies, bodies[0]])
        await store.append_once(source="http:a", bodies=[Body("1", "d", 60_000, [b"x"], own=True)])
        with server.client() as client:
            client.xtrim(shard.keys.stream, maxlen=100, approximate=False)
            await store.reconcile_backlog()
            client.delete(shard.keys.sources_names)  # as in a store of before it was kept
        await store.known(names=["file:/a"], beginnings=["tail:"])
        await store.register_sources(["file:/c"])
        await store.renew_sources(["file:/a"])
        await store.wait_until_durable("file:/a", timeout_seconds=10)
        await store.forget_left_behind(unseen_since_ms=1 << 50)
        with server.client() as client:
            client.hset(shard.keys.source_newest, "file:/a", "1")
        await store.forget_source_counts(unseen_since_ms=1 << 50)
        await store.forget_files(unseen_since_ms=1 << 50)
        with server.client() as client:
            await wait_until_async(lambda: _exists(client, shard.keys.rewritten), what="the rewrite has been noted")


async def _exists(client: blocking_redis.Redis, key: str) -> bool:
    return bool(client.exists(key))


def _aggregate(server: Server) -> None:
    """Do all that an aggregator does, of which most is rare."""
    environment = {
        "TALLY_REDIS_URL": url_of(server.url, "aggregator"),
        "TALLY_WINDOWS": "60x120,3600x48,86400x4",
        "TALLY_WORDS_BY_TYPE": "2",
        "TALLY_ACCEPTED_SAMPLES": "3",
        "TALLY_MAX_DELIVERIES": "2",
        "TALLY_CLAIM_IDLE_SECONDS": "0.1",
        "TALLY_MAX_WORDS": "1100",
    }

    def drain(**more: str) -> None:
        done = run("aggregator", "--drain", env={**environment, **more})
        assert done.returncode == 0, done.stderr

    with server.client() as client:
        client.delete(KEYS.rewritten)
        client.xgroup_destroy(KEYS.stream, GROUP)
        for hour in range(0, 200, 8):
            words = " ".join(f"w{hour * 20 + word}" for word in range(120))
            events = [EVENT.format(f"t{each}", words, NOW + hour * 3600 + each * 60) for each in range(4)]
            client.xadd(KEYS.stream, {"lines": "".join(events) + "rubbish", "source": "file:/a"})
            if hour % 3 == 0:
                drain()
        drain()
        # What others have taken, and did not count: once, and too often.
        for _ in range(2):
            client.xadd(KEYS.stream, {"lines": EVENT.format("t1", "word", NOW), "source": "file:/a"})
        client.xreadgroup(GROUP, "gone", {KEYS.stream: ">"}, count=1)
        (dead,) = client.xreadgroup(GROUP, "dead", {KEYS.stream: ">"}, count=1)[0][1]
        client.xclaim(KEYS.stream, GROUP, "dead", 0, [dead[0]], retrycount=9)
        time.sleep(0.5)  # that is how long they are idle
        drain()
        assert client.xlen(KEYS.dead_letters) == 1
        # A type has lost its words since.
        client.zadd(KEYS.types_retired, {"9": 9})
        client.hset(KEYS.table(words_of(9)), "word", 1)
        client.xadd(KEYS.stream, {"lines": EVENT.format("t1", "word", NOW), "source": "file:/a"})
        drain()
        wait_until(lambda: not client.exists(KEYS.types_retired), what="its words are deleted")


async def _ask(server: Server) -> None:
    """Do all that an api does, and `tally status`."""
    app = create_app(_settings(server, "api", words_by_type="2", windows="60x120,3600x48,86400x4", accepted_samples=3))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
    ):
        for path in (
            *("/readyz", "/metrics", "/v1", "/events/CountWords", "/v1/stats", "/v1/sources", "/v1/rejected"),
            *("/v1/accepted", "/v1/types", "/v1/words?window=1h", "/v1/words?type=t1", "/v1/types?word=w1"),
            *("/v1/words:trending", "/v1/words:series?name=w1&window=1h", "/v1/words/w1", "/v1/types/t1"),
            *("/v1/words?limit=1100&cursor=*", f"/v1/words?type=t1&from={NOW}&to={NOW + 86_400}"),
            *("/v1/words:lookup?name=w1", f"/v1/types:lookup?name=t1&word=w1&from={NOW}&to={NOW + 86_400}"),
        ):
            response = await client.get(path)
            assert response.status_code == 200, (path, response.text)
    for command in ("status", "top"):
        done = run("tally", command, env={"TALLY_REDIS_URL": url_of(server.url, "api")})
        assert done.returncode == 0, done.stderr


async def test_all_that_a_service_may_do_is_done(users: Server) -> None:
    with watched(users) as watch:
        await _ingest(users)
        assert watch.seen().unused_of(INGESTOR) == set()
        await asyncio.to_thread(_aggregate, users)
        settings = _settings(users, "aggregator")
        async with open_shards(settings, stop=asyncio.Event(), for_writing=True) as (shard,):
            await PipelineStore(shard.redis, keys=shard.keys, settings=settings).check_writable()
        assert watch.seen().unused_of(AGGREGATOR) == set()
        with users.client() as client:
            client.xadd(KEYS.stream, {"lines": "x"})  # it waits
        await _ask(users)
        assert watch.seen().unused_of(API) == set()
    with users.client() as client:
        assert not refusals(client)
