"""Several pipelines share a Redis, and do not touch each other: on one server, over a cluster, by Sentinels."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tally.generator import Generator, GeneratorSpec
from tally.keys import Keys
from tally.shards import tags
from tests.cli.commands import assert_refused, tally
from tests.cluster.nodes import Cluster
from tests.cluster.sentinels import running_sentinels
from tests.oracle import Expected, counted
from tests.processes import Process, running
from tests.server import Server
from tests.users import as_told
from tests.waiting import wait_until


@dataclass(frozen=True)
class Place:
    """A Redis, by its URL; its servers, and which of them has the keys with a tag."""

    url: str
    servers: Sequence[Server]
    owner: Callable[[int], Server]

    def keys(self) -> set[str]:
        """Return the names of the keys there."""
        found: set[str] = set()
        for server in self.servers:
            with server.client() as client:
                found.update(client.scan_iter(count=1000))
        return found

    def counted(self, pipeline: Pipeline) -> Expected:
        """Return what a pipeline has counted."""
        found = Expected()
        for tag in tags(pipeline.shards):
            with self.owner(tag).client() as client:
                found += counted(client, Keys(tag, pipeline.namespace))
        return found


@dataclass(frozen=True)
class Pipeline:
    """A namespace, and what its services are set to."""

    namespace: str
    shards: int
    variables: dict[str, str]

    def services(self, source: Path, folder: Path, place: Place) -> tuple[Process, Process]:
        """Return an ingestor that reads a file, and an aggregator."""
        variables = {
            "TALLY_REDIS_URL": place.url,
            "TALLY_NAMESPACE": self.namespace,
            "TALLY_SHARDS": str(self.shards),
            **self.variables,
        }
        log = folder / self.namespace
        return (
            Process("ingestor", str(source), log=log.with_suffix(".ingestor.log"), **variables),
            Process("aggregator", log=log.with_suffix(".aggregator.log"), **variables),
        )


#: With other settings each, so that neither could count what the other one has appended.
ONE = Pipeline("tally", 1, {"TALLY_WORDS_BY_TYPE": "3"})
OTHER = Pipeline("web-shop", 3, {"TALLY_WINDOWS": "30x100,300x100", "TALLY_STRIPE_BYTES": "65536"})


@contextmanager
def by_sentinels(folder: Path) -> Iterator[Place]:
    folder.mkdir()
    with running_sentinels(folder) as watched:
        yield Place(watched.url, [watched.master], lambda _: watched.master)


@pytest.fixture(params=["server", "cluster", pytest.param("sentinels", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "server":
        server: Server = request.getfixturevalue("server")
        yield Place(server.url, [server], lambda _: server)
    elif request.param == "cluster":
        cluster: Cluster = request.getfixturevalue("cluster")
        yield Place(cluster.url, cluster.nodes, cluster.owner)
    else:
        with by_sentinels(tmp_path / "sentinels") as watched:
            yield watched


def write_events(path: Path, *, count: int, seed: int) -> None:
    with path.open("ab") as file:
        for chunk in Generator(GeneratorSpec(count=count, seed=seed)).lines():
            file.write(chunk)


def expected_of(path: Path) -> Expected:
    with path.open("rb") as file:
        return Expected.of(file)


def test_pipelines_side_by_side_do_not_touch_each_other(place: Place, tmp_path: Path) -> None:
    events = tmp_path / "events.ndjson"
    write_events(events, count=10_000, seed=1)
    first = expected_of(events)

    def count(pipelines: tuple[Pipeline, ...], expected: Expected) -> None:
        services = [each.services(events, tmp_path, place) for each in pipelines]
        with running(*(process for both in services for process in both)):
            for pipeline, (ingestor, aggregator) in zip(pipelines, services, strict=True):
                assert ingestor.wait() == 0, ingestor.log()[-2000:]
                wait_until(
                    lambda pipeline=pipeline: place.counted(pipeline) == expected,  # type: ignore[misc]
                    what=f"{pipeline.namespace} has counted all: {aggregator.log()[-2000:]}",
                    pause_seconds=0.1,
                )
                assert aggregator.stop() == 0

    count((ONE, OTHER), first)  # the same file, at the same time
    found = place.keys()
    assert {key.partition(":")[0] for key in found} == {"tally", "web-shop"}
    assert {key.partition("}")[0] for key in found} == {
        f"{each.namespace}:{{{tag}" for each in (ONE, OTHER) for tag in {*tags(each.shards), 0}
    }
    told = json.loads(tally("status", "--all", "--json", env={"TALLY_REDIS_URL": place.url}).stdout)["namespaces"]
    assert [(each["namespace"], each["shards"], each["events"], each["backlog_blocks"]) for each in told] == [
        ("tally", 1, first.events, 0),
        ("web-shop", 3, first.events, 0),
    ]

    done = tally("reset", "--yes", env={"TALLY_REDIS_URL": place.url, "TALLY_NAMESPACE": "web-shop"})
    assert done.returncode == 0, done.stderr
    assert place.keys() == {key for key in found if key.startswith("tally:")}
    write_events(events, count=2000, seed=2)
    count((ONE, OTHER), expected_of(events))  # the one goes on where it was, the other begins anew


def test_namespaces_are_told_whatever_else_is_there(server: Server) -> None:
    with server.client() as client:
        client.set("tally:{0}:layout", "no hash")
        client.hset("a:b:{0}:layout", mapping={"format": "2"})
        client.hset("Shop:{0}:layout", mapping={"format": "2"})
        client.hset("shop:{0}:layout", mapping={"of": "somebody else"})
        client.hset("empty:{0}:layout", mapping={"format": "2", "since": "1632663984"})
        client.hset("newer:{0}:layout", mapping={"format": "99", "since": "1632663984"})
        client.hset("torn:{0}:layout", mapping={"format": "2", "shards": "many"})
        client.hset("wrong:{0}:layout", mapping={"format": "2"})
        client.set("wrong:{0}:totals", "no hash")
    done = tally("status", "--all", "--json", env={"TALLY_REDIS_URL": server.url})
    assert done.returncode == 0, done.stderr
    found = {each.pop("namespace"): each for each in json.loads(done.stdout)["namespaces"]}
    assert list(found) == ["empty", "newer", "torn", "wrong"]
    empty = found.pop("empty")
    assert (empty["shards"], empty["events"], empty["since_at"], empty["problem"]) == (1, 0, 1632663984, None)
    assert {each["events"] for each in found.values()} == {None}
    assert "format 99" in found["newer"]["problem"]
    assert "cannot be read" in found["torn"]["problem"]
    assert "holds something else" in found["wrong"]["problem"]
    shown = tally("status", "--all", env={"TALLY_REDIS_URL": server.url}).stdout
    assert as_told(server.url, "tally", "status", "--all") in shown
    assert "2021-09-26" in shown
    assert "newer: Redis holds data of format 99" in shown


def test_who_may_not_look_for_namespaces_is_told_so_and_one_that_may_not_be_read_is_named(server: Server) -> None:
    rules = ("reset", "on", ">word", "~tally:*", "+@all")
    with server.client() as admin:
        for name in ("tally", "other"):
            admin.hset(f"{name}:{{0}}:layout", mapping={"format": "2"})
        try:
            admin.execute_command("ACL", "SETUSER", "few", *rules)
            few = {"TALLY_REDIS_URL": server.url.replace("//", "//few:word@")}
            told = json.loads(tally("status", "--all", "--json", env=few).stdout)["namespaces"]
            assert [(each["namespace"], each["events"]) for each in told] == [("other", None), ("tally", 0)]
            assert "does not allow the user" in told[0]["problem"]
            admin.execute_command("ACL", "SETUSER", "few", *rules, "-scan")
            assert_refused(tally("status", "--all", env=few), 1, "takes a user who may run SCAN")
        finally:
            admin.execute_command("ACL", "DELUSER", "few")


def test_services_of_two_namespaces_have_users_that_reach_their_own_alone(
    durable_server: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "users"
    done = tally("redis-users", "--also", "web-shop", "--passwords", str(folder), "--url", durable_server.url)
    assert done.returncode == 0, done.stderr
    users = [line.split()[1:] for line in done.stdout.splitlines()]
    with durable_server.client() as admin:
        for name, *rules in users:
            if name != "default":  # which the test is
                admin.execute_command("ACL", "SETUSER", name, "reset", *rules)
    write_events(events := tmp_path / "events.ndjson", count=100, seed=1)

    def run_all(namespace: str, *, as_of: str) -> list[int]:
        """Run each service's command about this namespace, as the users of that one; return how they ended."""
        before = "" if as_of == "tally" else f"{as_of}-"
        return [
            tally(
                *arguments,
                env={"TALLY_REDIS_URL_FILE": str(folder / f"{before}{user}" / "url"), "TALLY_NAMESPACE": namespace},
            ).returncode
            for user, *arguments in (
                ("ingestor", "ingest", str(events)),
                ("aggregator", "aggregate", "--drain"),
                ("api", "status"),
            )
        ]

    assert run_all("web-shop", as_of="web-shop") == [0, 0, 0]
    assert run_all("tally", as_of="web-shop") == [1, 1, 1]
    with durable_server.client() as admin:
        assert counted(admin, Keys(namespace="web-shop")) == expected_of(events)
        assert not list(admin.scan_iter("tally:*"))
    assert run_all("tally", as_of="tally") == [0, 0, 0]
    assert_refused(tally("redis-users", "--also", "tally"), 2, "--also tally")
    assert_refused(tally("redis-users", "--also", "Web"), 2, "--also Web: right is 1 to 32 of")


def test_where_nothing_was_counted_there_is_no_namespace(server: Server) -> None:
    env = {"TALLY_REDIS_URL": server.url}
    assert "Nothing was ever counted in it; `tally status --all`" in tally("status", env=env).stdout
    assert "There is no namespace" in tally("status", "--all", env=env).stdout
    assert json.loads(tally("status", "--all", "--json", env=env).stdout)["namespaces"] == []
