"""Windows of event time: fixed spans, named by their length and their start in Unix seconds.

A *length* is how long a window is and how many of that length are kept. An event is counted in the shortest length that
still reaches back to it and in the next longer one; what becomes too old goes to a longer one. So each must be a
multiple of the one before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: How far ahead of its arrival an event's timestamp may be before the arrival is believed instead.
MAX_FUTURE_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class WindowLength:
    """One length of window: `seconds` long, the newest `kept` of them remembered."""

    seconds: int
    kept: int

    def start_of(self, at_seconds: float) -> int:
        """Return the start of the window that holds this moment, in Unix seconds."""
        return int(at_seconds // self.seconds) * self.seconds

    def end_of(self, at_seconds: float) -> int:
        """Return the first start of a window that is not before this moment, in Unix seconds."""
        return -int(-at_seconds // self.seconds) * self.seconds


def parse_window_lengths(text: str) -> tuple[WindowLength, ...]:
    """Read `60x360,3600x336`: seconds x how many are kept, shortest first.

    Raises ValueError with what is wrong and what would be right.
    """
    lengths: list[WindowLength] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*x\s*(\d+)\s*", part, re.ASCII)
        if match is None:
            raise ValueError(f"{part.strip()!r} is not SECONDSxKEPT, as in 60x360,3600x336")
        seconds, kept = int(match[1]), int(match[2])
        if seconds < 1 or kept < 2:
            raise ValueError(f"{part.strip()!r}: a window lasts at least 1 second and at least 2 are kept")
        if lengths and (seconds <= lengths[-1].seconds or seconds % lengths[-1].seconds):
            raise ValueError(f"{seconds} is not a multiple of the length before it, {lengths[-1].seconds}")
        if lengths and lengths[-1].kept * lengths[-1].seconds < 2 * seconds:
            # A time range that begins or ends in the last longer window but one is to be as exact as it is asked for.
            raise ValueError(
                f"{lengths[-1].seconds}x{lengths[-1].kept} does not reach back over two windows of {seconds} s: "
                f"keep at least {-(-2 * seconds // lengths[-1].seconds)}"
            )
        lengths.append(WindowLength(seconds, kept))
    return tuple(lengths)
