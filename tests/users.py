"""Servers with the users that Tally's services are to have: what is started as a process is its service's user.

A Server has them all, and nothing that a service does is refused; see tests/conftest.py. The user `default` may do
everything there, for the tests themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import redis

from tally.redis_urls import parts_of
from tally.store.users import ADMIN, AGGREGATOR, API, INGESTOR, NAMES, acl_file

#: Any user's, with a character that a URL may not have as it is.
PASSWORD = "s3cret/of+all"

#: The ports of the servers that have these users.
_ports: set[int] = set()

#: The user of a module, or of a command of `tally`. Any other command has the admin's.
_USERS = {
    "ingestor": INGESTOR.name,
    "ingest": INGESTOR.name,
    "aggregator": AGGREGATOR.name,
    "aggregate": AGGREGATOR.name,
    "api": API.name,
    "serve": API.name,
    "status": API.name,
    "top": API.name,
}


def acl_options(folder: Path, port: int, password: str | None) -> tuple[str, str]:
    """Return what gives a server these users, for the keys of any namespace."""
    _ports.add(port)
    _, *others = acl_file(namespace="*", passwords=dict.fromkeys(NAMES, PASSWORD)).splitlines()
    default = f"user default on {f'>{password}' if password else 'nopass'} ~* &* +@all"
    path = folder / "users.acl"
    path.write_text("\n".join([default, *others, ""]), encoding="ascii")
    return "--aclfile", str(path)


def as_its_user(url: str, *arguments: str) -> str:
    """Return this URL as `python -m <arguments>` has it: with its user, if all servers have one and none is named."""
    plain = parts_of(url).plain
    if any(urlsplit(each).port not in _ports or urlsplit(each).username for each in plain):
        return url
    command = arguments[1] if arguments[0] == "tally" and len(arguments) > 1 else arguments[0]
    return url_of(url, ADMIN if "--all" in arguments else _USERS.get(command, ADMIN))


def url_of(url: str, user: str) -> str:
    """Return this URL as one of the users has it."""
    return url.replace("//", f"//{user}:{quote(PASSWORD, safe='')}@", 1)


def as_told(url: str, *arguments: str) -> str:
    """Return this URL as what is run so tells where it is: without the password."""
    return as_its_user(url, *arguments).replace(quote(PASSWORD, safe=""), "***")


def refusals(*clients: redis.Redis) -> list[dict[str, Any]]:
    """Return what was refused to a service since this was asked for the last time, of each server."""
    found: list[dict[str, Any]] = []
    for client in clients:
        found += client.acl_log()
        client.acl_log_reset()
    return [
        {name: each[name] for name in ("username", "reason", "object", "context")}
        for each in found
        if each["username"] in NAMES and each["reason"] != "auth"
    ]


def rules_of(user: str, *, namespace: str = "tally") -> Sequence[str]:
    """Return the rules of one user for the keys of one namespace, as ACL SETUSER takes them."""
    text = acl_file(namespace=namespace, passwords=dict.fromkeys(NAMES, PASSWORD))
    (line,) = [line for line in text.splitlines() if line.split()[1] == user]
    return ["reset", *line.split()[2:]]
