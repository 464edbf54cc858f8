"""Listening sockets: how they are made, and how many connections the process may have."""

from __future__ import annotations

import socket

from tally.open_files import allow_open_files
from tally.origins import is_loopback
from tally.runtime import Failure
from tally.telemetry import get_logger

#: Connections that the kernel completes before we accept them.
ACCEPT_BACKLOG = 2048


def listen(host: str, port: int, *, hint: str) -> socket.socket:
    """Return a listening TCP socket. Raises Failure when the port cannot be had; `hint` ends its sentence."""
    try:
        return socket.create_server(
            (host, port),
            family=socket.AF_INET6 if ":" in host else socket.AF_INET,
            backlog=ACCEPT_BACKLOG,
        )
    except OSError as error:
        raise Failure(f"cannot listen on {host} port {port}: {error.strerror or error}; {hint}") from error


def warn_if_open(address: str, *, danger: str, remedy: str, **fields: str) -> None:
    """Say what comes of it that others than this machine reach an IP address that is listened on, without a token."""
    if not is_loopback(address):
        get_logger().warning(
            f"listening beyond loopback without a token: {danger}; {remedy}, or let a firewall keep others out",
            address=address,
            **fields,
        )


def allow_connections(count: int, *, owner: str = "connections") -> None:
    """Raise this process's limit of open files so that `owner` may have so many connections, as far as it may."""
    allowed = allow_open_files(owner, count)
    if allowed < count:
        get_logger().warning(
            "fewer files may be open than TALLY_MAX_CONNECTIONS needs: raise `ulimit -n` or set it lower",
            connections=allowed,
            needed=count,
        )
