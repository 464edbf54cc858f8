"""A server, or all nodes of a cluster, with the users that Tally's services are to have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tally.store.users import NAMES, acl_file
from tests.server import Server

#: Any user's, with a character that a URL may not have as it is.
PASSWORD = "s3cret/of+all"


def give_users(*servers: Server, namespace: str = "tally", names: Sequence[str] = NAMES) -> None:
    """Make these users on each server. Its own, who may do everything, stays on for the tests."""
    rules = {name: each for name, *each in _users(namespace)}
    for server in servers:
        with server.client() as client:
            for name in names:
                client.execute_command("ACL", "SETUSER", name, "reset", *rules[name])
            client.acl_log_reset()


def _users(namespace: str) -> list[list[str]]:
    text = acl_file(namespace=namespace, passwords=dict.fromkeys(NAMES, PASSWORD))
    return [line.split()[1:] for line in text.splitlines()]


def take_users(*servers: Server) -> None:
    """Remove them."""
    for server in servers:
        with server.client() as client:
            client.execute_command("ACL", "DELUSER", *NAMES)


def url_of(url: str, user: str) -> str:
    """Return this URL as one of them has it."""
    return url.replace("//", f"//{user}:{PASSWORD.replace('/', '%2F')}@", 1)


def refusals(*servers: Server) -> list[dict[str, Any]]:
    """Return what was refused to whom: the log of the ACLs of each server."""
    found: list[dict[str, Any]] = []
    for server in servers:
        with server.client() as client:
            found += client.acl_log()
    return [{name: each[name] for name in ("username", "reason", "object", "context")} for each in found]
