"""What would be said again and again, by whoever provokes it or for as long as it lasts, said now and then."""

from __future__ import annotations

import time
from typing import Any

from tally.open_files import is_out_of_files
from tally.telemetry import Logger, get_logger

#: How often a trouble that lasts is told of.
LASTING_SECONDS = 30.0


class LogThrottle:
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


class Outage:
    """Says that Redis is away: at first, then now and then however often it is tried, and once when it is back."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._began: float | None = None
        self._said = False  # of this outage
        self._next = 0.0

    def lasts(self, error: Exception, *, retry_in_seconds: float) -> None:
        """It was tried, and is to be tried again."""
        now = time.monotonic()
        if self._began is None:
            self._began, self._said = now, False
        # Also where it is away for moments only, again and again, as while it is all but full.
        if now >= self._next:
            self._next, self._said = now + LASTING_SECONDS, True
            what = "redis cannot be connected to" if is_out_of_files(error) else "redis is away"
            self._log.warning(what, error=str(error), retry_in_seconds=round(retry_in_seconds, 2))

    def is_over(self) -> None:
        """It did what it was asked to, as it mostly does."""
        if self._began is not None:
            if self._said:
                self._log.info("redis is back", away_seconds=round(time.monotonic() - self._began, 3))
            self._began = None
