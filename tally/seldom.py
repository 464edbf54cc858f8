"""Warnings that anybody can provoke, said now and then, with how often it happened since."""

from __future__ import annotations

import time
from typing import Any

from tally.telemetry import get_logger


class Seldom:
    """Logs a warning at most every so many seconds: the first at once, with the number of those that were not."""

    def __init__(self, *, seconds: float = 10.0, **bound: Any) -> None:
        self._seconds = seconds
        self._bound = bound
        self._next: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def warning(self, event: str, **fields: Any) -> None:
        """Say it, or count it as one that was not said."""
        now = time.monotonic()
        if now < self._next.get(event, 0.0):
            self._unsaid[event] = self._unsaid.get(event, 0) + 1
            return
        self._next[event] = now + self._seconds
        get_logger().warning(event, times=self._unsaid.pop(event, 0) + 1, **self._bound, **fields)
