"""What is logged in several rooms, and what tests look for: an event's text stands in one place."""

from __future__ import annotations

LISTENING = "listening"
STOPPING = "stopping"

REDIS_UNAVAILABLE = "redis is unavailable"
REDIS_AVAILABLE_AGAIN = "redis is available again"

#: It is we who may open no more files.
REDIS_CONNECTION_IMPOSSIBLE = "redis cannot be connected to"

REDIS_REFUSES = "redis refuses"

#: Logged as the error for which Redis is unavailable.
REWRITE_WAITED_FOR = (
    "the server was started, and is to rewrite its append-only file before it is written to, which it does when its "
    "present child process has ended"
)
REWRITE_NOT_WAITED_FOR = (
    "going on before the server rewrites its append-only file: should it crash again before it does, events may be "
    "counted twice"
)
REWRITE_FAILED = "the server has not rewritten its append-only file; its log says why"
