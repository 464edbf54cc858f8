"""Log now and then what would be logged again and again: what a client provokes, or what lasts."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any
from weakref import WeakKeyDictionary

from tally.clock import SYSTEM, Clock
from tally.log_events import REDIS_AVAILABLE_AGAIN, REDIS_CONNECTION_IMPOSSIBLE, REDIS_UNAVAILABLE
from tally.open_files import is_out_of_files
from tally.telemetry import Log, get_logger

#: How often a trouble that lasts is logged.
LASTING_SECONDS = 30.0


class LogThrottle:
    """Logs a warning at most every so many seconds: the first at once, the next with the number of those left out."""

    def __init__(self, *, seconds: float = 10.0, clock: Clock = SYSTEM, **bound: Any) -> None:
        self._seconds = seconds
        self._clock = clock
        self._bound = bound
        self._next: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warning(self, event: str, **fields: Any) -> None:
        """Log it, or count it as one that was left out."""
        now = self._clock.monotonic()
        if now < self._next.get(event, 0.0):
            self._left_out[event] = self._left_out.get(event, 0) + 1
            return
        self._next[event] = now + self._seconds
        get_logger().warning(event, times=self._left_out.pop(event, 0) + 1, **self._bound, **fields)


#: Who tells of a trouble, and until when that was enough; by the clock, of which a process has one.
_told: WeakKeyDictionary[Clock, dict[Hashable, tuple[object, float]]] = WeakKeyDictionary()


class Telling:
    """Has one tell of a trouble that many in this process have, of thousands of files that are followed, say.

    Another one tells if that one does not any more, although the trouble lasts.
    """

    def __init__(self, *, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._of: set[Hashable] = set()

    def is_due(self, trouble: Hashable) -> bool:
        """Return whether we are to tell of it now: the first one at once, then now and then."""
        told, now = _told.setdefault(self._clock, {}), self._clock.monotonic()
        teller, enough_until = told.get(trouble, (self, now))
        if now < enough_until + (0.0 if teller is self else LASTING_SECONDS / 2):
            return False
        told[trouble] = self, now + LASTING_SECONDS
        self._of.add(trouble)
        return True

    def is_over(self) -> None:
        """Note that we are in trouble no more: what comes now is told of at once."""
        told = _told.get(self._clock, {})
        for trouble in self._of:
            if told.get(trouble, (None, 0.0))[0] is self:
                del told[trouble]
        self._of.clear()


class Outage:
    """Logs that Redis is unavailable: at first, then now and then however often it is tried; and that it is back.

    Of those who have the same to say one does.
    """

    def __init__(self, log: Log, *, clock: Clock = SYSTEM) -> None:
        self._log = log
        self._telling = Telling(clock=clock)
        self._clock = clock
        self._began: float | None = None
        self._logged = False  # of this outage
        self._next = 0.0

    def lasts(self, error: Exception, *, retry_in_seconds: float) -> None:
        """Note that Redis was tried in vain, and is to be tried again."""
        now = self._clock.monotonic()
        if self._began is None:
            self._began, self._logged = now, False
        # Also where it is unavailable for moments only, again and again, as while it is all but full.
        if now >= self._next and self._telling.is_due(str(error)):
            self._next, self._logged = now + LASTING_SECONDS, True
            event = REDIS_CONNECTION_IMPOSSIBLE if is_out_of_files(error) else REDIS_UNAVAILABLE
            self._log.warning(event, error=str(error), retry_in_seconds=round(retry_in_seconds, 2))

    def is_over(self) -> None:
        """Note that Redis did what it was asked to, as it mostly does."""
        if self._began is not None:
            if self._logged:
                seconds = round(self._clock.monotonic() - self._began, 3)
                self._log.info(REDIS_AVAILABLE_AGAIN, unavailable_seconds=seconds)
            self._began = None
            self._telling.is_over()
