"""Events a second, from totals that are read now and then. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import deque

#: Over how many seconds a rate is given.
SPANS_SECONDS = (1, 10, 60)


class Rates:
    """Remembers a minute of totals that were read about every `every_seconds`."""

    def __init__(self, *, every_seconds: float) -> None:
        self._every_seconds = every_seconds
        self._samples: deque[tuple[float, int]] = deque(maxlen=int(max(SPANS_SECONDS) / every_seconds) + 2)

    def add(self, at: float, events: int) -> None:
        """Add a total that was read at this moment, in seconds of any clock that only goes on.

        A total that fell means that Redis lost its data: what was before says nothing about the rate.
        """
        if self._samples and events < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((at, events))

    def clear(self) -> None:
        """Forget everything, because for a while nothing could be read."""
        self._samples.clear()

    def rates(self) -> dict[str, float | None]:
        """Return events a second over the last 1, 10 and 60 seconds; None where that is not known yet."""
        return {str(seconds): self._rate(seconds) for seconds in SPANS_SECONDS}

    def _rate(self, seconds: int) -> float | None:
        if len(self._samples) < 2:
            return None
        now, events = self._samples[-1]
        # The one nearest to so long ago, for no poller is quite on time.
        then, before = min(list(self._samples)[:-1], key=lambda sample: abs(now - seconds - sample[0]))
        if now - then < seconds - self._every_seconds / 2:
            return None
        return round((events - before) / (now - then), 2)
