"""What Redis refuses is a sentence, wherever it comes from, and costs nothing: users, clusters, what is no Redis."""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis as blocking_redis
import trustme

import tally
from api.app import create_app
from tally.keys import Keys
from tally.settings import Settings, load
from tally.store.permissions import ADMINS, AGGREGATORS, DEAD_LETTERS, INGESTORS
from tests.listener import Listener
from tests.processes import Process, run, running
from tests.server import Server, free_port
from tests.waiting import wait_until

KEYS = Keys()

EVENT = b'{"event_type":"a","data":"Lorem ipsum","timestamp":1600000000}\n'

#: Everything that people run, with what it is given.
COMMANDS = (
    ["ingest", "events.ndjson"],
    ["aggregate", "--drain"],
    ["status"],
    ["top"],
    ["layout"],
    ["layout", "--accept"],
)

READS = (
    "/readyz",
    "/events/CountByEventType",
    "/events/CountWords",
    "/v1/types?window=1h",
    "/v1/words?q=x",
    "/v1/types/a",
    "/v1/types:series",
    "/v1/words:trending",
    "/v1/stats",
    "/v1/rejected",
)


def _run(folder: Path, url: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "events.ndjson").write_bytes(EVENT)
    return run("tally", *arguments, env={"TALLY_REDIS_URL": url, **variables})


async def _answers(url: str, *more: str) -> dict[str, httpx.Response]:
    app = create_app(Settings(redis_url=url))
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
    ):
        return {path: await client.get(path) for path in (*READS, *more)}


async def _assert_refused_everywhere(folder: Path, url: str, sentence: str, *, secret: str) -> None:
    for arguments in COMMANDS:
        done = _run(folder, url, *arguments)
        assert done.returncode == 1, (arguments, done.stderr)
        assert sentence in done.stderr, arguments
        assert "Traceback" not in done.stderr, arguments
    for path, response in (await _answers(url)).items():
        assert (response.status_code, response.json()["title"]) == (503, "Redis refuses"), path
        assert sentence in response.json()["detail"], path
        assert secret not in response.text, path


# A cluster.


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """Two nodes: one without the slot of {0}, and the one that owns it."""
    nodes = []
    for name in ("without", "owner"):
        (tmp_path / name).mkdir()
        node = Server(tmp_path / name, options=("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"))
        node.start()
        nodes.append(node)
    without, owner = nodes
    try:
        with without.client() as one, owner.client() as other:
            one.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
            other.execute_command("CLUSTER", "ADDSLOTSRANGE", 8192, 16_383)
            one.execute_command("CLUSTER", "MEET", "127.0.0.1", owner.port)
            for client in (one, other):
                wait_until(lambda client=client: _is_up(client), what="the nodes know each other")  # type: ignore[misc]
        yield without, owner
    finally:
        for node in nodes:
            node.kill()


def _is_up(client: Any) -> bool:
    return "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO"))


@pytest.mark.slow
async def test_a_node_that_does_not_own_the_slot_is_said(cluster: tuple[Server, Server], tmp_path: Path) -> None:
    without, owner = cluster
    sentence = "names a node of a Redis Cluster that does not own the slot"
    await _assert_refused_everywhere(tmp_path, without.url, sentence, secret=str(owner.port))
    assert f"name the one that does, 127.0.0.1:{owner.port}" in _run(tmp_path, without.url, "status").stderr
    for arguments in COMMANDS:  # and with the other all is well
        done = _run(tmp_path, owner.url, *arguments)
        assert done.returncode == 0, (arguments, done.stderr)
    assert json.loads(_run(tmp_path, owner.url, "status", "--json").stdout)["totals"]["events"] == 1


def _gives_away(client: Any, new_owner: str) -> bool:
    """Empty the slot and give it away; False where something was written in between."""
    client.flushall()
    try:
        client.execute_command("CLUSTER", "SETSLOT", 13_907, "NODE", new_owner)
    except blocking_redis.exceptions.ResponseError as error:
        if "still hold keys" in str(error):
            return False
        raise
    return True


async def test_a_running_ingestor_and_aggregator_end_when_the_slot_is_elsewhere(
    cluster: tuple[Server, Server], tmp_path: Path
) -> None:
    without, owner = cluster
    url = {"TALLY_REDIS_URL": owner.url}
    services = [
        Process("ingestor", "demo:?rate=50", log=tmp_path / "ingestor.log", **url),
        Process("aggregator", log=tmp_path / "aggregator.log", **url),
    ]
    with running(*services), owner.client() as client, without.client() as other:
        wait_until(lambda: int(client.hget(KEYS.totals, "events") or 0) > 0, what="something is counted")
        new_owner = str(other.execute_command("CLUSTER", "MYID"))
        other.execute_command("CLUSTER", "SETSLOT", 13_907, "NODE", new_owner)
        wait_until(lambda: _gives_away(client, new_owner), what="the slot is given away")
        for service in services:
            assert service.wait() == 1, service.log()
            assert "does not own the slot" in service.log()
            assert "Traceback" not in service.log()


# Users.


def _url(server: Server, user: str) -> str:
    return server.url.replace("//", f"//{user}:secret@")


async def test_a_user_who_may_do_nothing_is_told_of_the_command(server: Server, tmp_path: Path) -> None:
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "nobody", "on", ">secret", "~tally:*", "-@all", "+client|setname", "+ping"
        )
        try:
            sentence = "does not allow the user of TALLY_REDIS_URL to run "
            await _assert_refused_everywhere(tmp_path, _url(server, "nobody"), sentence, secret=str(server.port))
        finally:
            client.execute_command("ACL", "DELUSER", "nobody")


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["ingest", "events.ndjson"], "HSET"),
        (["ingest", "events.ndjson"], "ZADD"),
        (["aggregate", "--drain"], "HSET"),
        (["aggregate", "--drain"], "XGROUP DELCONSUMER"),
        (["aggregate", "--drain"], "XREADGROUP"),
    ],
)
def test_nothing_is_begun_where_a_script_could_not_run_to_its_end(
    server: Server, tmp_path: Path, arguments: list[str], command: str
) -> None:
    """Redis would stop it in the middle: blocks off the stream that are not counted, or on it without a position."""
    with server.client() as client:
        assert _run(tmp_path, server.url, "ingest", "events.ndjson").returncode == 0
        rule = f"-{command.lower().replace(' ', '|')}"
        client.execute_command("ACL", "SETUSER", "less", "on", ">secret", "~tally:*", "+@all", rule)
        before = client.hgetall(KEYS.sources), client.xrange(KEYS.stream), client.keys(KEYS.types)
        try:
            done = _run(tmp_path, _url(server, "less"), *arguments)
            assert done.returncode == 1
            assert (
                f"tally: Redis does not allow the user of TALLY_REDIS_URL to run {command}; which rules" in done.stderr
            )
            assert (client.hgetall(KEYS.sources), client.xrange(KEYS.stream), client.keys(KEYS.types)) == before
        finally:
            client.execute_command("ACL", "DELUSER", "less")


def test_a_user_of_another_namespace_is_asked_whose_user_it_is(server: Server, tmp_path: Path) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "shop", "on", ">secret", "~shop:*", "+@all")
        try:
            done = _run(tmp_path, _url(server, "shop"), "ingest", "events.ndjson")
            assert done.returncode == 1
            assert "to use a key that is needed (is it made for this TALLY_NAMESPACE?); which rules" in done.stderr
            assert not client.exists(KEYS.stream)
        finally:
            client.execute_command("ACL", "DELUSER", "shop")


async def test_a_user_who_may_not_run_what_a_script_reads_with_is_told_of_it(server: Server, tmp_path: Path) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "less", "on", ">secret", "~tally:*", "+@all", "-hlen")
        try:
            done = _run(tmp_path, _url(server, "less"), "status")
            assert done.returncode == 1
            assert re.search("does not allow the user of TALLY_REDIS_URL to run (HGET OR )?HLEN;", done.stderr)
        finally:
            client.execute_command("ACL", "DELUSER", "less")


def test_the_permissions_of_every_script_that_writes_are_asked_for() -> None:
    others = {
        "accept_layout",
        "distinct",
        "ensure_layout",
        "known_sources",
        "list_dead_letters",
        "next_chunk",
        "oldest",
        "permissions",
        "overdue",
        "sum_fields",
        "top_words",
    }
    scripts = {file.stem for file in Path(str(tally.__file__)).parent.rglob("*.lua") if "_library" not in file.stem}
    assert {*ADMINS, *INGESTORS, *AGGREGATORS, *DEAD_LETTERS} == scripts - others


# What is no Redis, or not ours.


async def test_a_key_that_holds_something_else_is_said(server: Server, tmp_path: Path) -> None:
    with server.client() as client:
        client.set(KEYS.totals, "mine")
    done = _run(tmp_path, server.url, "status")
    assert done.returncode == 1
    assert "tally: Redis holds something else under a name of Tally's" in done.stderr
    assert "docs/operations.md: WRONGTYPE" in done.stderr
    response = (await _answers(server.url))["/events/CountWords"]
    assert response.status_code == 503
    assert "something else" in response.json()["detail"]


def test_what_does_not_speak_as_redis_does_is_said(tmp_path: Path) -> None:
    with Listener(_answer_as_http) as listener:
        done = _run(tmp_path, f"redis://127.0.0.1:{listener.port}", "status")
    assert done.returncode == 1
    assert "what answers at TALLY_REDIS_URL does not speak as Redis does" in done.stderr
    assert "Traceback" not in done.stderr


def _answer_as_http(client: socket.socket) -> None:
    client.recv(1 << 16)
    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize("option", ["decode_responses=true", "protocol=3", "encoding=latin-1", "retry_on_timeout=yes"])
def test_options_that_contradict_what_is_needed_are_refused_at_the_start(
    server: Server, tmp_path: Path, option: str
) -> None:
    for arguments in COMMANDS:
        done = _run(tmp_path, f"{server.url}?{option}", *arguments)
        assert done.returncode == 2, arguments
        assert f"the option {option.partition('=')[0]} cannot be set: Tally " in done.stderr


# TLS.


class TlsServer:
    """A server that asks clients for a certificate: a redis-server with TLS, or a proxy with it before one without."""

    def __init__(self, folder: Path, server: Server, *, proxied: bool) -> None:
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca)
        certificate = self.authority.issue_cert("localhost")
        self._certificate, self._key = folder / "server.pem", folder / "server.key"
        certificate.cert_chain_pems[0].write_to_path(self._certificate)
        certificate.private_key_pem.write_to_path(self._key)
        client = self.authority.issue_cert("tally@example.org")
        self.client_certificate, self.client_key = folder / "client.pem", folder / "client.key"
        self.client_both = folder / "client-both.pem"
        client.cert_chain_pems[0].write_to_path(self.client_certificate)
        client.private_key_pem.write_to_path(self.client_key)
        client.private_key_and_cert_chain_pem.write_to_path(self.client_both)
        self._server = server
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: Listener | None = None
        self.port = self._serve_as_proxy() if proxied else self._start(folder, port=free_port())
        self.url = f"rediss://localhost:{self.port}/0"

    def _start(self, folder: Path, *, port: int) -> int:
        self._process = subprocess.Popen(
            [
                *("redis-server", "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", ""),
                *("--tls-cert-file", str(self._certificate), "--tls-key-file", str(self._key)),
                *("--tls-ca-cert-file", str(self.ca), "--dir", str(folder)),
            ],
            stdout=subprocess.DEVNULL,
        )
        wait_until(lambda: self._answers(port), what="the server answers with TLS")
        return port

    def _answers(self, port: int) -> bool:
        with blocking_redis.Redis(
            host="localhost",
            port=port,
            ssl=True,
            ssl_ca_certs=str(self.ca),
            ssl_certfile=str(self.client_both),
        ) as client:
            try:
                return bool(client.ping())
            except blocking_redis.RedisError:
                return False

    def _serve_as_proxy(self) -> int:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.ca))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self._certificate, self._key)
        self._listener = Listener(lambda plain: self._forward(plain, context))
        return self._listener.port

    def _forward(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        with context.wrap_socket(plain, server_side=True) as client:
            client.settimeout(0.01)
            with socket.create_connection(("127.0.0.1", self._server.port)) as server:
                server.settimeout(0.01)
                while True:
                    for from_, to in ((client, server), (server, client)):
                        with suppress(TimeoutError):
                            chunk = from_.recv(1 << 16)
                            if not chunk:
                                return
                            to.sendall(chunk)

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)


def _has_tls() -> bool:
    """Whether there is a redis-server that was built with TLS, as Debian's is."""
    binary = shutil.which("redis-server")
    if binary is None:
        return False
    without_certificate = [binary, "--port", "0", "--tls-port", "1", "--bind", "127.0.0.1"]
    said = subprocess.run(without_certificate, capture_output=True, text=True, timeout=30, check=False).stdout
    return "tls-cert-file" in said


@pytest.fixture(params=["proxy", "redis-server"])
def tls_server(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Iterator[TlsServer]:
    if request.param == "redis-server" and not _has_tls():
        pytest.skip("there is no redis-server with TLS")
    (tmp_path / "tls").mkdir()
    tls = TlsServer(tmp_path / "tls", server, proxied=request.param == "proxy")
    yield tls
    tls.close()


def _variables(tls: TlsServer) -> dict[str, str]:
    return {
        "TALLY_REDIS_TLS_CA_PATH": str(tls.ca),
        "TALLY_REDIS_TLS_CERTIFICATE_PATH": str(tls.client_certificate),
        "TALLY_REDIS_TLS_KEY_PATH": str(tls.client_key),
    }


@pytest.mark.slow
async def test_everything_works_over_tls_with_a_clients_certificate(
    tls_server: TlsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in COMMANDS:
        done = _run(tmp_path, tls_server.url, *arguments, **_variables(tls_server))
        assert done.returncode == 0, (arguments, done.stderr)
    for name, value in {"TALLY_REDIS_URL": tls_server.url, **_variables(tls_server)}.items():
        monkeypatch.setenv(name, value)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(load())), base_url="http://127.0.0.1") as api:
        assert (await api.get("/events/CountByEventType")).json() == {"a": 1}
    both = {**_variables(tls_server), "TALLY_REDIS_TLS_CERTIFICATE_PATH": str(tls_server.client_both)}
    both["TALLY_REDIS_TLS_KEY_PATH"] = ""
    assert _run(tmp_path, tls_server.url, "status", **both).returncode == 0


def test_neither_another_authority_nor_a_missing_certificate_is_let_through(
    tls_server: TlsServer, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    done = _run(tmp_path, tls_server.url, "status", **{**_variables(tls_server), "TALLY_REDIS_TLS_CA_PATH": str(other)})
    assert done.returncode == 1
    assert "certificate verify failed" in done.stderr.lower()
    done = _run(tmp_path, tls_server.url, "status", TALLY_REDIS_TLS_CA_PATH=str(tls_server.ca))
    assert done.returncode == 1
    assert "no answer from" in done.stderr
    elsewhere = tls_server.url.replace("localhost", "127.0.0.1")  # which is no name of the certificate
    done = _run(tmp_path, elsewhere, "status", **_variables(tls_server))
    assert done.returncode == 1
    assert "verify failed" in done.stderr


def test_files_of_tls_that_cannot_be_used_are_named(tls_server: TlsServer, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_bytes(b"")
    for changed, says in [
        (
            {"TALLY_REDIS_TLS_CA_PATH": "nowhere.pem"},
            "CA_PATH=nowhere.pem: the file cannot be read: No such",
        ),
        ({"TALLY_REDIS_TLS_CA_PATH": "empty.pem"}, "TALLY_REDIS_TLS_CA_PATH=empty.pem: it is not a PEM file"),
        ({"TALLY_REDIS_TLS_KEY_PATH": str(tls_server.ca)}, "it does not make a certificate and its private key"),
        ({"TALLY_REDIS_TLS_KEY_PATH": ""}, "it does not make a certificate and its private key"),
        ({"TALLY_REDIS_TLS_CERTIFICATE_PATH": ""}, "it needs a TALLY_REDIS_TLS_CERTIFICATE_PATH"),
        ({"TALLY_REDIS_URL": "redis://localhost"}, "of use only where TALLY_REDIS_URL begins with rediss://"),
        ({"TALLY_REDIS_URL": tls_server.url + "?ssl_ca_certs=a"}, "TALLY_REDIS_URL has the option ssl_ca_certs, too"),
    ]:
        url = changed.pop("TALLY_REDIS_URL", tls_server.url)
        done = _run(tmp_path, url, "status", **{**_variables(tls_server), **changed})
        assert done.returncode == 2, changed
        assert says in done.stderr, (changed, done.stderr)


def test_files_are_counted_on_a_server_of_their_own_whatever_is_set_for_another(
    tls_server: TlsServer, tmp_path: Path
) -> None:
    done = _run(tmp_path, tls_server.url, "count", "--json", "events.ndjson", **_variables(tls_server))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["types"] == {"a": 1}
