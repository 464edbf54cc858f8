"""URLs of Redis: which can be used, and which of the client's options they may have."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

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


def url_problem(url: str) -> str | None:
    """Return why no client can be made of it, and what would be right; None if one can.

    Repeats nothing of what the URL holds, which may be a part of the password; of options only names that are known.
    """
    if not url.startswith(SCHEMES):
        return "a Redis URL begins with redis://, rediss:// or unix://, as in redis://127.0.0.1:6379/0"
    options = _options(url).keys()
    for name in sorted(options & _CONTRADICTING.keys()):
        return f"the option {name} cannot be set: {_CONTRADICTING[name]}"
    if not url.startswith("rediss://"):
        for name in sorted(options & {*TLS_OPTIONS}):
            return f"the option {name} is about TLS: the URL of a Redis with TLS begins with rediss://"
    if options - {*OPTIONS, *TLS_OPTIONS}:
        return f"it has an option that there is not; there are {', '.join((*OPTIONS, *TLS_OPTIONS))}"
    if not _is_connectable(url):
        return (
            "its host, port, database or options cannot be read; right is redis://127.0.0.1:6379/0, and a special "
            "character in a password is written as %40 for @, %2F for /, %3A for :"
        )
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


def _is_connectable(url: str) -> bool:
    try:
        path = urlsplit(url).path
        # It connects with its first command only.
        database: int = ConnectionPool.from_url(url).make_connection().db  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, RedisError):
        return False
    # The client takes a path that is no number for database 0.
    is_number = url.startswith("unix://") or re.fullmatch(r"/?[0-9]*", path) is not None
    return is_number and 0 <= database < 2**31
