"""How old an answer may be: the one rule for what is read of Redis and for what is sent."""

from __future__ import annotations

#: What is sent was read at most so long ago, and as long as making it took: half of it for what is read and half for
#: what is sent.
MAX_AGE_SECONDS = 0.25

#: The bound of either half.
HALF_SECONDS = MAX_AGE_SECONDS / 2

#: The bound of rankings, which may take seconds to make.
RANKING_SECONDS = 40 * MAX_AGE_SECONDS

#: For so long a copy is always given again.
MOMENT_SECONDS = MAX_AGE_SECONDS / 50

#: Making copies anew takes at most one part in so many of the time.
DUTY = 4

#: What a copy may become older each time that it is given, as that saves making one.
SAVED_SECONDS = 0.001


def fresh_seconds(*, cost_seconds: float = 0.0, given: int = 0, most_seconds: float = HALF_SECONDS) -> float:
    """Return for how long a copy may be given again, although what it was made of may have changed.

    It is longer for one that took long to make, and for one that was given often: so one that is asked for now and then
    shows at once what is new, and however often it is asked for, and however long it takes, making it anew takes a part
    of the time.
    """
    return max(MOMENT_SECONDS, min(most_seconds, max(DUTY * cost_seconds, SAVED_SECONDS * given)))
