"""What clients of an HTTP server may take, and how it is told of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from tally.peers import Peers

#: How long a request's head may take from its first byte, and the first one's from the connection's start; and the rest
#: of a body that was answered before it had come.
HEAD_SECONDS = 10.0


class Meter:
    """Is told of connections: how many are open, and what is refused before there is a request of which to say it."""

    def __init__(self) -> None:
        self.open = 0

    def refused(self, reason: str) -> None:
        """Note that something was refused. Reasons are a few, and no client's to choose."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may take. When there are too many connections, the client with the most of them gives one up."""

    max_connections: int | None = None
    head_seconds: float = HEAD_SECONDS
    keep_alive_seconds: int = 5  # how long an idle connection is kept
    peers: Peers = field(default_factory=Peers)
    meter: Meter = field(default_factory=Meter)
