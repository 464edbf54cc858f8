"""Listening sockets: how they are made, and how many connections the process may have."""

from __future__ import annotations

import resource
import socket

from tally.runtime import Failure
from tally.telemetry import get_logger

#: Connections that the kernel completes before we accept them.
ACCEPT_BACKLOG = 2048

#: Open files beside connections: the log, Redis, sources, the event loop's own.
OTHER_FILES = 128


def listen(host: str, port: int, *, hint: str) -> socket.socket:
    """A listening TCP socket. Raises Failure when the port cannot be had; `hint` ends its sentence."""
    try:
        return socket.create_server(
            (host, port),
            family=socket.AF_INET6 if ":" in host else socket.AF_INET,
            backlog=ACCEPT_BACKLOG,
        )
    except OSError as error:
        raise Failure(f"cannot listen on {host} port {port}: {error.strerror or error}; {hint}") from error


def allow_connections(count: int) -> None:
    """Raise this process's limit of open files so that it may have so many connections, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):  # macOS has a lower limit of its own
        allowed = soft
    if allowed < needed:
        get_logger().warning(
            "fewer files may be open than TALLY_MAX_CONNECTIONS needs: raise `ulimit -n` or set it lower",
            open_files=allowed,
            needed=needed,
        )
