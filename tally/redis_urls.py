"""URLs of Redis: which can be used, and which of the client's options they may have.

    redis://user:password@host:6379/0           one server; rediss:// with TLS, unix:///run/redis.sock
    redis+cluster://a:7000,b:7000               a Redis Cluster, by some of its nodes; rediss+cluster:// with TLS
    redis+sentinel://a:26379,b:26379/service    what Sentinels watch under that name; rediss+sentinel:// with TLS

What stands before the @, and the options, are the same for all hosts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from redis import RedisError
from redis.asyncio import ConnectionPool

SCHEMES = ("redis://", "rediss://", "unix://")

#: The options of redis-py that change nothing of what Tally relies on.
OPTIONS = ("db", "username", "password", "client_name", "health_check_interval", "socket_keepalive")

#: Those about TLS, for rediss:// alone.
TLS_OPTIONS = (
    "ssl_ca_certs",
    "ssl_ca_data",
    "ssl_ca_path",
    "ssl_certfile",
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "ssl_ciphers",
    "ssl_keyfile",
    "ssl_min_version",
    "ssl_password",
)

#: Those about the Sentinels themselves, where they ask for another user or password than the servers.
SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")

_TIMEOUT = "set TALLY_REDIS_TIMEOUT_SECONDS instead"
_REPLIES = "Tally needs Redis' replies as they are, in RESP2"
_ONCE = "Tally never sends a command twice, and tries again by itself"

#: Options that people have in their URLs and that contradict what Tally needs: why they are refused.
_CONTRADICTING = {
    "decode_responses": _REPLIES,
    "encoding": _REPLIES,
    "encoding_errors": _REPLIES,
    "legacy_responses": _REPLIES,
    "parser_class": _REPLIES,
    "protocol": _REPLIES,
    "retry": _ONCE,
    "retry_on_error": _ONCE,
    "retry_on_timeout": _ONCE,
    "socket_timeout": _TIMEOUT,
    "socket_connect_timeout": _TIMEOUT,
    "timeout": _TIMEOUT,
    "max_connections": "Tally bounds its connections by itself",
    "single_connection_client": "Tally needs several connections",
    "socket_read_size": "Tally reads by itself",
    "host": "write it before the path",
    "port": "write it before the path",
}


_SEVERAL = re.compile(r"(rediss?)\+(cluster|sentinel)://")

#: What a URL of each kind may look like.
_EXAMPLES = {
    "server": "redis://127.0.0.1:6379/0",
    "cluster": "redis+cluster://127.0.0.1:7000,127.0.0.1:7001",
    "sentinel": "redis+sentinel://127.0.0.1:26379,127.0.0.1:26380/mymaster",
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What a URL names: of each host the URL of one server, as redis-py knows it, and what Sentinels alone have."""

    kind: Literal["server", "cluster", "sentinel"]
    plain: tuple[str, ...]
    service: str = ""
    sentinel: tuple[tuple[str, str], ...] = ()


def parts_of(url: str) -> Parts:
    """Return what a URL names, which need not be right."""
    found = _SEVERAL.match(url)
    if not found:
        return Parts("server", (url,))
    where, mark, query = url[found.end() :].partition("?")
    authority, slash, path = where.partition("/")
    login, at, hosts = authority.rpartition("@")
    service, sentinel = "", []
    if found[2] == "sentinel":
        service, slash, path = path.partition("/")
        others = []
        for each in query.split("&"):
            name, _, value = each.partition("=")
            if name in SENTINEL_OPTIONS:
                sentinel.append((name.removeprefix("sentinel_"), unquote(value.replace("+", " "))))
            elif each:
                others.append(each)
        query = "&".join(others)
    plain = tuple(f"{found[1]}://{login}{at}{host}{slash}{path}{mark}{query}" for host in hosts.split(","))
    return Parts("cluster" if found[2] == "cluster" else "sentinel", plain, unquote(service), tuple(sentinel))


def is_tls(url: str) -> bool:
    """Return whether the connection is to have TLS."""
    return url.startswith(("rediss://", "rediss+"))


def url_problem(url: str) -> str | None:
    """Return why no client can be made of it, and what would be right; None if one can.

    Repeats nothing of what the URL holds, which may be a part of the password; of options only names that are known.
    """
    parts = parts_of(url)
    if parts.kind != "server":
        right = f"right is {_EXAMPLES[parts.kind]}"
        if any(_host(each) == "" for each in parts.plain):
            return f"a host is missing; {right}"
        if any(re.search(r"\s", _host(each) or "") for each in parts.plain):
            return f"hosts have a comma between them and no white space; {right}"
        if parts.kind == "sentinel" and not parts.service:
            return f"the name of what the Sentinels watch is missing; {right}"
    for plain in parts.plain:
        if (problem := _plain_problem(plain, parts.kind)) is not None:
            return problem
    return None


def _plain_problem(url: str, kind: str) -> str | None:
    if not url.startswith(SCHEMES):
        return (
            f"a Redis URL begins with redis://, rediss:// or unix://, as in {_EXAMPLES['server']}; that of a cluster "
            "with redis+cluster://, that of Sentinels with redis+sentinel://"
        )
    options = _options(url).keys()
    for name in sorted(options & _CONTRADICTING.keys()):
        return f"the option {name} cannot be set: {_CONTRADICTING[name]}"
    if not is_tls(url):
        for name in sorted(options & {*TLS_OPTIONS}):
            return f"the option {name} is about TLS: the URL of a Redis with TLS begins with rediss:// or rediss+"
    if options - {*OPTIONS, *TLS_OPTIONS}:
        known = (*OPTIONS, *TLS_OPTIONS, *(SENTINEL_OPTIONS if kind == "sentinel" else ()))
        return f"it has an option that there is not; there are {', '.join(known)}"
    database = _database(url)
    if database is None:
        return (
            f"its host, port, database or options cannot be read; right is {_EXAMPLES[kind]}, and a special "
            "character in a password is written as %40 for @, %2F for /, %3A for :"
        )
    if kind == "cluster" and database:
        return "a Redis Cluster has database 0 alone"
    return None


def is_redis_url(url: str) -> bool:
    """Return whether a client can be made of it."""
    return url_problem(url) is None


def option_of(url: str, name: str) -> str | None:
    """Return the value of an option; None if the URL does not have it."""
    return _options(url).get(name)


def _options(url: str) -> dict[str, str]:
    try:
        return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    except ValueError:
        return {}


def _host(url: str) -> str | None:
    """Return the host, which may be empty; None if it cannot be read."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return None


def _database(url: str) -> int | None:
    """Return the database; None if no client connects by this URL."""
    try:
        path = urlsplit(url).path
        # It connects with its first command only.
        database: int = ConnectionPool.from_url(url).make_connection().db  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, RedisError):
        return None
    # The client takes a path that is no number for database 0.
    is_number = url.startswith("unix://") or re.fullmatch(r"/?[0-9]*", path) is not None
    return database if is_number and 0 <= database < 2**31 else None
