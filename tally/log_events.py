"""What is logged in several rooms, and what tests look for: an event's text stands in one place."""

from __future__ import annotations

REDIS_UNAVAILABLE = "redis is unavailable"
REDIS_AVAILABLE_AGAIN = "redis is available again"

#: It is we who may open no more files.
REDIS_CONNECTION_IMPOSSIBLE = "redis cannot be connected to"
