"""The users that the services have in Redis: each may do all that its service does, and nothing else."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import redis as blocking_redis

from tally.keys import Keys
from tally.store.users import NAMES, SERVICES, User
from tests.processes import run
from tests.server import Server
from tests.users import refusals, rules_of, url_of

KEYS = Keys()

EVENT = b'{"event_type":"a","data":"Lorem ipsum","timestamp":1600000000}\n'

#: By the rules of a user, or because a script that only reads may write nothing.
REFUSED = re.compile(
    "(?i)no permission|can't run this command|can't access at least one|write commands are not allowed"
)


@pytest.fixture
def users(durable_server: Server) -> Server:
    """A server with the users."""
    with durable_server.client() as client:
        for name in NAMES:
            client.execute_command("ACL", "SETUSER", name, *rules_of(name))
    return durable_server


def _run(url: str, *arguments: str, **variables: str) -> CompletedProcess[str]:
    Path("events.ndjson").write_bytes(EVENT)
    return run("tally", *arguments, env={"TALLY_REDIS_URL": url, **variables})


def test_each_service_does_its_work_as_its_user(users: Server) -> None:
    for user, *arguments in (
        ("ingestor", "ingest", "events.ndjson"),
        ("aggregator", "aggregate", "--drain"),
        ("api", "status"),
        ("api", "top"),
        ("admin", "layout", "--accept"),
    ):
        done = _run(url_of(users.url, user), *arguments, TALLY_WORDS_BY_TYPE="10")
        assert done.returncode == 0, (arguments, done.stderr)
        assert "redis refuses" not in done.stderr, done.stderr
    with users.client() as client:
        block = {"lines": EVENT, "id": "1-1", "deliveries": 5}
        for command in ("retry", "drop"):
            letter = str(client.xadd(KEYS.dead_letters, block))
            more = ["--yes"] if command == "drop" else []
            done = _run(url_of(users.url, "admin"), "dead-letters", command, letter, *more)
            assert done.returncode == 0, (command, done.stderr)
        assert refusals(client) == []


@pytest.mark.parametrize(
    ("user", "arguments", "lacking"),
    [
        ("ingestor", ("ingest", "events.ndjson"), KEYS.sources_last),
        ("aggregator", ("aggregate", "--drain"), KEYS.top),
    ],
)
def test_nothing_is_begun_without_a_key(users: Server, user: str, arguments: tuple[str, ...], lacking: str) -> None:
    with users.client() as client:
        client.xadd(KEYS.stream, {"lines": EVENT})
        rules = [rule for rule in rules_of(user) if not rule.endswith(lacking.partition("}")[2])]
        assert len(rules) < len(rules_of(user))
        client.execute_command("ACL", "SETUSER", user, *rules)
        before = {key: client.dump(key) for key in client.keys()}  # noqa: SIM118
        done = _run(url_of(users.url, user), *arguments)
        assert done.returncode == 1
        assert f"does not allow the user of TALLY_REDIS_URL to read and write {lacking}; which rules" in done.stderr
        after = {key: client.dump(key) for key in client.keys() if key != KEYS.rewritten}  # noqa: SIM118
        assert after == {key: value for key, value in before.items() if key != KEYS.rewritten}


@pytest.mark.parametrize(
    ("user", "calls"),
    [
        (
            "api",
            [
                ("SET", KEYS.totals, "x"),
                ("GET", KEYS.probe),
                ("EVAL_RO", "return redis.call('SET', KEYS[1], 'x')", 1, KEYS.probe),
                ("EVAL", "return 1", 0),
                ("SET", "tally:{0}:probe:2", "x"),
                ("HGETALL", "shop:{0}:types"),
                ("XADD", KEYS.stream, "*", "lines", "x"),
            ],
        ),
        (
            "ingestor",
            [
                ("HSET", KEYS.types, "a", "1"),
                ("HGETALL", KEYS.words),
                ("EVAL", "return redis.call('HSET', KEYS[1], 'a', 1)", 1, KEYS.types),
                ("EVAL", "return redis.call('HSET', 'tally:{0}:types', 'a', 1)", 1, KEYS.stream),
                ("XDEL", KEYS.stream, "1-1"),
                ("UNLINK", KEYS.stream),
                ("RENAME", KEYS.once_new, KEYS.stream),
                ("SET", KEYS.sources, "x"),
                ("HGETALL", "shop:{0}:sources"),
                # One that is over already: that is to delete it.
                *(("PEXPIRE", key, "0") for key in (KEYS.stream, KEYS.sources, KEYS.totals)),
                ("EVAL", "return redis.call('PEXPIRE', KEYS[1], 0)", 1, KEYS.layout),
            ],
        ),
        (
            "aggregator",
            [
                ("HSET", KEYS.sources, "a", "1"),
                ("HGET", KEYS.once_new, "a"),
                ("UNLINK", KEYS.types),
                ("UNLINK", KEYS.stream),
                ("SET", KEYS.types, "x"),
                ("XTRIM", KEYS.stream, "MAXLEN", "0"),
                ("XADD", KEYS.stream, "MAXLEN", "0", "*", "lines", "x"),
                ("HGETALL", "shop:{0}:types"),
                *((command, key, "0") for command in ("EXPIRE", "PEXPIRE") for key in (KEYS.types, KEYS.stream)),
                ("PERSIST", KEYS.accepted),
            ],
        ),
        ("replica", [("GET", KEYS.probe), ("HGETALL", KEYS.types), ("INFO",)]),
    ],
)
def test_what_no_service_does_is_refused(users: Server, user: str, calls: list[tuple[str, ...]]) -> None:
    nobodys = [
        *(("FLUSHALL",), ("FLUSHDB",), ("KEYS", "*"), ("SCAN", "0"), ("MONITOR",), ("SHUTDOWN",)),
        *(("CONFIG", "GET", "*"), ("CONFIG", "SET", "appendonly", "no"), ("ACL", "LIST"), ("CLIENT", "LIST")),
        *(("CLIENT", "KILL", "TYPE", "normal"), ("CLIENT", "PAUSE", "1"), ("REPLICAOF", "NO", "ONE"), ("SAVE",)),
        *(("PUBLISH", "a", "b"), ("SUBSCRIBE", "a"), ("FUNCTION", "LIST"), ("SCRIPT", "FLUSH"), ("SWAPDB", "0", "1")),
        *(("CLUSTER", "RESET"), ("MIGRATE", "127.0.0.1", "1", "a", "0", "1"), ("GET", "other"), ("SET", "other", "1")),
    ]
    with blocking_redis.Redis.from_url(url_of(users.url, user)) as client, users.client() as ours:
        ours.xadd(KEYS.stream, {"lines": EVENT})
        before = {key: ours.dump(key) for key in ours.keys()}  # noqa: SIM118
        for call in (*nobodys, *calls):
            with pytest.raises(blocking_redis.exceptions.ResponseError, match=REFUSED):
                client.execute_command(*call)
        assert {key: ours.dump(key) for key in ours.keys()} == before  # noqa: SIM118
        assert refusals(ours), "what was refused is looked for"


#: Of the own connection; a server may know some more.
OWN_CONNECTION = {
    *("asking", "auth", "client|getname", "client|getredir", "client|help", "client|id", "client|info"),
    *("client|reply", "client|setname", "client|trackinginfo", "command|count"),
    *("command|docs", "command|getkeys", "command|getkeysandflags", "command|help", "command|info"),
    *("command|list", "echo", "hello", "ping", "quit", "readonly", "readwrite", "reset", "select"),
    "wait",
}
NEWER = {"client|capa", "client|import-source", "client|no-touch", "client|setinfo", "waitaof"}


@pytest.mark.parametrize("user", SERVICES, ids=lambda user: user.name)
def test_the_commands_that_are_declared_are_all_that_may_be_run(users: Server, user: User) -> None:
    confined = {command for commands in user.confined or {} for command in commands}
    with users.client() as client:
        client.response_callbacks.pop("COMMAND")  # it leaves out those that have two words
        known = _known_commands(client.execute_command("COMMAND"))
        found = {name for name, words in known.items() if _may_run(client, user.name, words)}
    assert found - NEWER == {*user.commands, *confined, *OWN_CONNECTION}


def _known_commands(described: Any) -> dict[str, list[str]]:
    """Return every command of a server, and a call of each with as many words as it takes."""
    found = {}
    for name, arity, *_, commands in described:
        inner = {str(each[0]): int(each[1]) for each in commands} | ({} if commands else {str(name): int(arity)})
        for inner_name, inner_arity in inner.items():
            words = inner_name.split("|")
            found[inner_name] = words + ["1"] * (abs(inner_arity) - len(words))
    return found


def _may_run(client: Any, user: str, words: list[str]) -> bool:
    """Return whether a user may run a command at all, if on some keys only."""
    answer = client.execute_command("ACL", "DRYRUN", user, *words)
    return "no permissions to run the" not in answer


def test_passwords_are_made_once_and_are_nobody_elses(tmp_path: Path) -> None:
    folder, output = tmp_path / "users", tmp_path / "users.acl"
    (folder / "api").mkdir(parents=True)
    (folder / "api" / "password").write_text("of/my own@\n".replace(" ", "-"))

    def make(*more: str) -> dict[str, str]:
        where = ["--passwords", str(folder), "--output", str(output)]
        done = run("tally", "redis-users", *where, "--url", "rediss://old:secret@redis:6379/3", *more)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}

    made = make()
    assert make() == made
    assert made["api/url"] == "rediss://api:of%2Fmy-own%40@redis:6379/3\n"
    assert made.keys() == {f"{name}/password" for name in NAMES} | {
        f"{name}/url" for name in NAMES if name != "replica"
    }
    assert len(set(made.values())) == len(made)
    for path in folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0 or path in (folder / "api", folder / "api" / "password"), path
    before = output.read_text()
    lines = before.splitlines()
    for line, name in zip(lines, ("default", *NAMES), strict=True):
        assert line.startswith(f"user {name} ")
        if name != "default":
            assert f" #{sha256(made[f'{name}/password'].strip().encode()).hexdigest()} " in line
    assert not any(text.strip() in before for text in made.values())
    make("--namespace", "shop")
    assert output.read_text() == before.replace("tally:{", "shop:{")


@pytest.mark.parametrize(
    ("given", "has"),
    [
        ("redis://old:secret@redis:6379/3", "redis://api:mine@redis:6379/3"),
        ("redis://redis?db=3&username=old&client_name=a@b/c", "redis://api:mine@redis?db=3&client_name=a@b/c"),
        ("redis://redis/0?password=secret&%75sername=old", "redis://api:mine@redis/0"),
        ("unix:///run/redis.sock?password=secret&db=2", "unix://api:mine@/run/redis.sock?db=2"),
        (
            "redis+sentinel://old:secret@a,b:1/master/0?password=secret&sentinel_password=other",
            "redis+sentinel://api:mine@a,b:1/master/0?sentinel_password=other",
        ),
    ],
)
def test_who_is_named_in_the_url_is_in_no_services_url(tmp_path: Path, given: str, has: str) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "password").write_text("mine\n")
    done = run("tally", "redis-users", "--passwords", str(tmp_path), env={"TALLY_REDIS_URL": given})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "api" / "url").read_text() == has + "\n"
    assert not any("secret" in path.read_text() for path in tmp_path.glob("*/url"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--namespace", "A*"], "--namespace A*: right is"),
        (["--url", "http://redis"], "--url: a Redis URL begins with redis://"),
        (["--passwords", "taken"], "taken"),
        (["--passwords", "empty"], "is not empty"),
        (["--output", "nowhere/users.acl"], "cannot use nowhere/users.acl"),
    ],
)
def test_what_cannot_be_used_is_said(arguments: list[str], says: str) -> None:
    Path("taken").touch()
    Path("empty/ingestor").mkdir(parents=True)
    Path("empty/ingestor/password").touch()
    done = run("tally", "redis-users", *arguments)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_does_not_start_with_the_file_without_passwords(tmp_path: Path) -> None:
    (tmp_path / "users.acl").write_text(run("tally", "redis-users").stdout)
    server = Server(tmp_path)
    path = tmp_path / "users.acl"
    path.write_text(run("tally", "redis-users").stdout)
    server.process.start()
    assert server.process.wait() != 0
    assert "hash" in server.process.log()
