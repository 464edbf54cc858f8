"""How long to wait before something that failed is tried again. Pure: chance and time are arguments."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from tally.clock import SYSTEM, Clock

#: 2 to the power of more than this is no number that a wait could have, and slow to reckon.
_MOST_DOUBLINGS = 30


class Backoff:
    """The waits of one thing that is tried again: each twice as long as the one before, at most `most_seconds`.

    A wait is anything between a tenth of that and all of it (full jitter), so that many clients of a server that comes
    back do not come all at once; never less than the tenth, so that a lone client does not spin.
    """

    def __init__(
        self,
        *,
        first_seconds: float = 0.05,
        most_seconds: float = 5.0,
        steady_seconds: float = math.inf,
        jitter: Callable[[float, float], float] = random.uniform,
        clock: Clock = SYSTEM,
    ) -> None:
        """A try that failed only after more than `steady_seconds` since `begin` counts as one that went well.

        `jitter` chooses between the least and the longest wait.
        """
        self._first_seconds = first_seconds
        self._most_seconds = most_seconds
        self._steady_seconds = steady_seconds
        self._jitter = jitter
        self._clock = clock
        self._began = clock.monotonic()
        self.failures = 0  # since something went well

    def begin(self) -> None:
        """Note that it is tried now. Needed only with `steady_seconds`."""
        self._began = self._clock.monotonic()

    def reset(self) -> None:
        """Note that something went well: the next wait is a short one again."""
        self.failures = 0

    def next_seconds(self) -> float:
        """Note a failure, and return how long to wait before the next try."""
        if self._clock.monotonic() - self._began > self._steady_seconds:
            self.reset()
        self.failures += 1
        longest = min(self._most_seconds, self._first_seconds * 2.0 ** min(self.failures - 1, _MOST_DOUBLINGS))
        return self._jitter(longest / 10, longest)
