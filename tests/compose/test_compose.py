"""The containers as docker-compose.yml runs them: exact when aggregators are killed, and with few rights.

TALLY_REQUIRE_COMPOSE=1 makes these tests fail, rather than be skipped, where no Docker Engine answers.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from aggregator.log_events import CLAIMED
from tally.generator import Generator, GeneratorSpec
from tests import waiting
from tests.oracle import Expected
from tests.server import free_port

pytestmark = [pytest.mark.compose, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]

#: Read here, because each test is run without the TALLY_ variables of the shell.
REQUIRED = os.environ.get("TALLY_REQUIRE_COMPOSE") == "1"

#: Of this run alone: neither the image that somebody has built for his own use, nor that of tests beside these.
NAME = f"tally-test-{os.getpid()}"

SERVICES = ("ingestor", "aggregator", "api")

LINES = 200_000
BACKLOG_BLOCKS = 50  # of a file, which leaves as many to live sources

#: Containers start slowly on a machine that does other work besides.
wait_until = partial(waiting.wait_until, seconds=180.0)

#: Lines that the generator does not make: all forms of timestamp, words beyond ASCII, line ends, none at the end.
ODD_LINES = (
    b'{"event_type": "odd", "data": "no timestamp"}\n'
    b'{"event_type": "odd", "data": "null", "timestamp": null}\n'
    b'{"event_type": "odd", "data": "a fraction", "timestamp": 1632663984.25}\r\n'
    b'{"event_type": "odd", "data": "RFC 3339", "timestamp": "2026-01-02T03:04:05Z"}\n'
    b'{"event_type": "odd", "data": "an offset", "timestamp": "2026-01-02T03:04:05.678+02:00"}\n'
    b'{"event_type": "odd", "data": "not a time", "timestamp": "yesterday"}\n'
    b'{"event_type": "odd", "data": "neither", "timestamp": true}\n'
    b"\n  \n"
    + '{"event_type": "größe", "data": "don’t état-major 東京"}\n'.encode()
    + b'{"event_type": "odd", "data": "the end"}'
)


class Pipeline:
    """One `docker compose` project of the test's own, in a folder with a .env and a data folder, as a user has it.

    With `others`, more files of compose behind docker-compose.yml.
    """

    def __init__(self, folder: Path, *others: Path) -> None:
        self._folder = folder
        self._files = [word for file in (ROOT / "docker-compose.yml", *others) for word in ("--file", str(file))]
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{free_port()}", timeout=10, trust_env=False)
        # As a user who has cloned the project has them.
        (folder / "deploy").symlink_to(ROOT / "deploy")
        (folder / "data").mkdir()
        self.source = folder / "data" / "events.ndjson"
        (folder / ".env").write_text(
            f"TALLY_IMAGE={NAME}\n"
            f"TALLY_PUBLISH=127.0.0.1:{self._http.base_url.port}\n"
            "TALLY_SOURCE=/data/events.ndjson\n"
            # Thousands of blocks of which a few may wait: the file cannot be through before somebody was killed.
            "TALLY_MAX_BLOCK_BYTES=4096\n"
            f"TALLY_MAX_BACKLOG_BLOCKS={2 * BACKLOG_BLOCKS}\n"
            "TALLY_CLAIM_IDLE_SECONDS=2\n"
        )

    def compose(self, *arguments: str, stdin: str | None = None) -> str:
        """`docker compose` with these arguments; what it printed."""
        project = ("--project-name", NAME, "--project-directory", str(self._folder), *self._files)
        return docker("compose", *project, *arguments, stdin=stdin)

    def redis_cli(self, *arguments: str) -> str:
        """What `docker compose exec redis redis-cli` says, as the README has it."""
        return self.compose("exec", "-T", "redis", "redis-cli", *arguments)

    def build(self) -> None:
        """Build the image, from the folder of the project rather than the test's."""
        file = ROOT / "docker-compose.yml"
        docker("compose", "--project-directory", str(ROOT), "--file", str(file), "build", TALLY_IMAGE=NAME)

    def count_made_up_events(self) -> None:
        """Have the ingestor make up more events than are counted, and everything else run besides."""
        settings = (self._folder / ".env").read_text()
        (self._folder / ".env").write_text(settings.replace("/data/events.ndjson", "demo:?rate=100000"))
        self.compose("up", "--detach", "--no-build", "--scale", "aggregator=3")
        wait_until(self.ready, what="the api answers at the published port")

    def containers(self, service: str) -> list[str]:
        """IDs of a service's containers, also of those that have ended."""
        return self.compose("ps", "--all", "--quiet", service).split()

    def ready(self) -> bool:
        """Whether the api answers at the published port and says that Redis is there."""
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def counts(self, what: str) -> dict[str, int]:
        """What the published port answers."""
        response = self._http.get(f"/events/{what}")
        response.raise_for_status()
        counts: dict[str, int] = response.json()
        return counts

    def status(self) -> dict[str, Any]:
        """What `tally status` says, run in the api's container."""
        status: dict[str, Any] = json.loads(self.compose("exec", "-T", "api", "tally", "status", "--json"))
        return status

    def totals(self) -> dict[str, int]:
        """What was counted, and what was not."""
        totals: dict[str, int] = self.status()["totals"]
        return totals

    def backlog_blocks(self) -> int:
        """How many blocks wait in the stream or are being counted."""
        blocks: int = self.status()["backlog"]["blocks"]
        return blocks

    def holds_blocks(self, aggregator: str) -> bool:
        """Whether this container was given blocks that it has not counted."""
        name = inspect(aggregator)["Config"]["Hostname"]
        return any(each["pending"] for each in self.status()["aggregators"] if each["name"].startswith(name))

    def down(self) -> None:
        """Remove everything; the engine keeps the layers, which make the next build quick."""
        self._http.close()
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
        docker("image", "rm", NAME)


def docker(*arguments: str, stdin: str | None = None, **variables: str) -> str:
    """Run `docker` with these variables; what it printed. Fails with what it complained about."""
    # What a developer has set for his own pipeline is not for this one.
    variables |= {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    done = subprocess.run(
        ["docker", *arguments], env=variables, input=stdin, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def inspect(container: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("inspect", container))[0]
    return found


@pytest.fixture(scope="module")
def engine() -> None:
    """A Docker Engine with Compose."""
    try:
        # With a format, because its complaint is on standard output without one.
        for command in (["docker", "info", "--format", "{{.ServerVersion}}"], ["docker", "compose", "version"]):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        reason = f"no Docker Engine with Compose answers: {getattr(error, 'stderr', None) or error}"
        if REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def pipeline(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The pipeline with three aggregators, ready, and no ingestor yet."""
    pipeline = Pipeline(tmp_path_factory.mktemp("compose"))
    lines = b"".join(Generator(GeneratorSpec(count=LINES, seed=7, start=time.time())).lines())
    pipeline.source.write_bytes(lines + ODD_LINES)
    pipeline.build()
    try:
        pipeline.compose("up", "--detach", "--no-build", "--scale", "aggregator=3", "--scale", "ingestor=0")
        wait_until(pipeline.ready, what="the api answers at the published port")
        yield pipeline
    finally:
        # pytest shows it after a failure.
        sys.stdout.write(pipeline.compose("ps", "--all") + pipeline.compose("logs", "--tail", "50"))
        pipeline.down()


def test_counts_stay_exact_when_aggregators_are_killed(pipeline: Pipeline) -> None:
    expected = Expected.of(pipeline.source.read_bytes().split(b"\n"))
    aggregators = pipeline.containers("aggregator")
    first, second, third = aggregators

    docker("pause", *aggregators)
    pipeline.compose("up", "--detach", "--no-build", "--no-recreate", "ingestor")
    wait_until(lambda: pipeline.backlog_blocks() == BACKLOG_BLOCKS, what="the ingestor waits for room")

    def stopped_with_blocks_in_its_hands() -> bool:
        docker("unpause", first)
        docker("pause", first)
        return pipeline.holds_blocks(first)

    wait_until(stopped_with_blocks_in_its_hands, what="an aggregator is stopped while it holds blocks")
    docker("kill", first)
    assert sum(pipeline.counts("CountByEventType").values()) < expected.events
    docker("unpause", second, third)
    # SIGKILL to all processes of the container but its first, which ends when the service does. Unlike after
    # `docker kill`, which is the will of a person, it must be started again. Detached, because it may end before us.
    docker("exec", "--detach", second, "python", "-c", "import os; os.kill(-1, 9)")
    wait_until(lambda: inspect(second)["RestartCount"] >= 1, what="the killed aggregator is started again")

    wait_until(lambda: pipeline.totals()["lines"] >= expected.events + expected.rejected, what="all is counted")
    assert pipeline.counts("CountByEventType") == expected.types
    assert pipeline.counts("CountWords") == expected.words
    assert pipeline.totals() == pipeline.totals() | {
        "events": expected.events,
        "rejected": expected.rejected,
        "lines": expected.events + expected.rejected,
        "words": expected.words.total(),
        "lost": 0,
    }

    assert inspect(second)["State"]["Running"]
    assert not inspect(first)["State"]["Running"]
    assert CLAIMED in pipeline.compose("logs", "aggregator")
    (ingestor,) = pipeline.containers("ingestor")
    ended = "all sources have ended"
    wait_until(lambda: ended in pipeline.compose("logs", "ingestor"), what="the ingestor has come to its source's end")
    docker("restart", ingestor)  # as a machine that starts again does
    wait_until(lambda: pipeline.compose("logs", "ingestor").count(ended) == 2, what="it finds nothing new")
    assert inspect(ingestor)["State"]["Running"]
    assert pipeline.totals()["lines"] == expected.events + expected.rejected
    for service in (ingestor, second, third):
        wait_until(lambda service=service: _health(service) == "healthy", what="its health is looked at")  # type: ignore[misc]


def _health(container: str) -> str:
    health: str = inspect(container)["State"]["Health"]["Status"]
    return health


def test_containers_have_no_more_rights_than_they_need(pipeline: Pipeline) -> None:
    pipeline.compose("create", "--no-build", "--no-recreate", "ingestor")
    for service in SERVICES:
        found = inspect(pipeline.containers(service)[-1])
        assert found["Config"]["User"] == "10001:10001", service
        assert found["HostConfig"]["ReadonlyRootfs"], service
        assert found["HostConfig"]["CapDrop"] == ["ALL"], service
        assert not found["HostConfig"]["CapAdd"], service
        assert "no-new-privileges:true" in found["HostConfig"]["SecurityOpt"], service
        _assert_is_bounded(found)
        published = found["HostConfig"]["PortBindings"]
        assert [each["HostIp"] for ports in published.values() for each in ports] == (
            ["127.0.0.1"] if service == "api" else []
        )

    (redis,) = pipeline.containers("redis")
    found = inspect(redis)
    assert found["HostConfig"]["ReadonlyRootfs"]
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    assert not found["HostConfig"]["PortBindings"]
    _assert_is_bounded(found)
    # Its entry point begins as root; the server must not.
    status = _status_of_server(redis)
    assert status["Uid"].split()[0] != "0"
    assert int(status["CapEff"], 16) == 0


def _status_of_server(redis: str) -> dict[str, str]:
    """What the kernel says of the first process of this container."""
    lines = docker("exec", redis, "cat", "/proc/1/status").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _assert_is_bounded(found: dict[str, Any]) -> None:
    """Memory, processor time, processes and threads; and the log, which Docker keeps as a whole otherwise."""
    limits = found["HostConfig"]
    assert set(limits["LogConfig"]["Config"]) == {"max-size", "max-file"}
    assert limits["Memory"] > 0
    assert limits["CpuQuota"] > 0
    assert not limits["NanoCpus"], "this many would be refused by a machine with fewer cores"
    assert 0 < limits["PidsLimit"] <= 256


def test_each_service_has_its_own_user_of_redis_alone(pipeline: Pipeline) -> None:
    for service in ("aggregator", "api"):
        seen = pipeline.compose("exec", "-T", service, "sh", "-c", "cd /run/tally && find . -type f")
        assert set(seen.split()) == {f"./{service}/password", f"./{service}/url"}
    attempt = """
import redis
with open("/run/tally/api/url") as file:
    url = file.read().strip()
for at in ("redis://redis", url):
    with redis.Redis.from_url(at) as client:
        try:
            client.hset("tally:{0}:types", "forged", 1)
        except redis.RedisError as error:
            print(type(error).__name__)
"""
    said = pipeline.compose("exec", "-T", "api", "python", "-c", attempt)
    assert said.split() == ["AuthenticationError", "NoPermissionError"]

    assert pipeline.redis_cli("ACL", "WHOAMI").strip() == "admin"
    assert "forged" not in pipeline.redis_cli("HGETALL", "tally:{0}:types")
    # What was tried here is all that was ever refused.
    refused = pipeline.redis_cli("--json", "ACL", "LOG")
    assert [(each["username"], each["object"]) for each in json.loads(refused)] == [("api", "hset")]

    (redis,) = pipeline.containers("redis")
    user = _status_of_server(redis)["Uid"].split()[0]
    denied = ["docker", "exec", "--user", user, redis, "cat", "/run/tally/admin/password"]
    assert "Permission denied" in subprocess.run(denied, capture_output=True, text=True).stderr


def test_only_services_reach_redis_and_only_ingestor_and_api_reach_outside(pipeline: Pipeline) -> None:
    pipeline.compose("create", "--no-build", "--no-recreate", "ingestor")
    networks = {
        service: {name.removeprefix(f"{NAME}_") for name in _networks_of(pipeline.containers(service)[-1])}
        for service in (*SERVICES, "redis")
    }
    assert networks == {
        "redis": {"redis"},
        "aggregator": {"redis", "metrics"},
        "ingestor": {"redis", "metrics", "default"},
        "api": {"redis", "metrics", "default"},
    }
    used = [f"{NAME}_{network}" for network in ("redis", "metrics", "default")]
    found = json.loads(docker("network", "inspect", *used))
    assert [each["Internal"] for each in found] == [True, True, False]

    attempt = """
import socket, sys
for host, port in (("api", 9090), (sys.argv[1], 6379)):
    try:
        socket.create_connection((host, port), 2).close()
    except OSError:
        print(host, "is not reached")
"""
    (redis,) = pipeline.containers("redis")
    (address,) = (each["IPAddress"] for each in _networks_of(redis).values())
    said = docker("run", "--rm", "--network", f"{NAME}_default", NAME, "python", "-c", attempt, address)
    assert said == f"{address} is not reached\n"


def _networks_of(container: str) -> dict[str, dict[str, Any]]:
    networks: dict[str, dict[str, Any]] = inspect(container)["NetworkSettings"]["Networks"]
    return networks


def test_redis_and_its_users_may_be_started_again_while_the_rest_runs(pipeline: Pipeline) -> None:
    before = pipeline.totals()["events"]
    line = '{"event_type": "piped", "data": "in"}\n'
    ingest = ("run", "--rm", "--no-deps", "-T", "ingestor", "tally", "ingest", "-")
    pipeline.compose(*ingest, stdin=line)

    pipeline.redis_cli("ACL", "SETUSER", "ingestor", "-xadd")  # as if the version before had not needed it
    pipeline.compose("up", "--detach", "--no-build", "--no-recreate", "users")
    wait_until(
        lambda: "+xadd" in pipeline.redis_cli("ACL", "GETUSER", "ingestor"), what="a Redis that runs takes new rights"
    )
    pipeline.compose("restart", "redis")
    wait_until(pipeline.ready, what="the api has its Redis back")
    pipeline.compose(*ingest, stdin=line)
    wait_until(lambda: pipeline.totals()["events"] == before + 2, what="both lines are counted")
    status = json.loads(pipeline.compose("run", "--rm", "-T", "admin", "tally", "status", "--json"))
    assert status["totals"]["events"] == before + 2


def test_nothing_can_be_written_or_installed_in_a_container(pipeline: Pipeline) -> None:
    (api,) = pipeline.containers("api")
    attempt = """
import os, subprocess, sys
assert os.getuid() == 10001
for python in (sys.executable, os.path.realpath(sys.executable)):
    for module in ("pip", "ensurepip"):
        done = subprocess.run([python, "-m", module, "--version"], capture_output=True, text=True)
        assert f"No module named {module}" in done.stderr, done
for folder in ("/", "/data", "/opt/tally"):
    try:
        open(folder + "/here", "w")
    except OSError as error:
        print(error.errno)
"""
    assert docker("exec", api, "python", "-c", attempt).split() == [str(errno.EROFS)] * 3


def test_a_stop_under_load_is_over_within_the_grace(pipeline: Pipeline) -> None:
    """The last one here: nothing runs afterwards. What is not done by then is killed, and its exit code is 137."""
    pipeline.count_made_up_events()
    before = pipeline.totals()["lines"]
    wait_until(lambda: pipeline.totals()["lines"] > before + 20_000, what="made-up events are counted")
    pipeline.compose("stop")
    codes = {
        service: [inspect(each)["State"]["ExitCode"] for each in pipeline.containers(service)]
        for service in (*SERVICES, "redis")
    }
    # 1: the aggregators were gone, the stream was full, and what it had made up by then cannot be made up again.
    assert codes.pop("ingestor") in ([0], [1])
    assert codes == {"aggregator": [0, 0, 0], "api": [0], "redis": [0]}
