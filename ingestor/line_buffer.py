"""The line that a connection has not finished yet. Pure, and small: there is one for each of thousands."""

from __future__ import annotations

from tally.padding import NUL, padding_bytes

#: Behind a line that was cut although it may be whole: no JSON ends like this, so it is rejected and never counted.
#: (Not NUL: that could be padding, and the line blank.)
CUT_MARK = b"\x18"


class LineBuffer:
    """Takes what a connection sent and gives back its whole lines; the last one is held until it ends.

    A line over `max_line_bytes` is cut down to one byte over it, by which the aggregator knows and rejects it,
    and the rest of it is skipped as it comes. Of much padding in front of a line, one NUL is left.
    """

    __slots__ = ("_held", "_max_line_bytes", "_skipping")

    def __init__(self, *, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes
        self._held = bytearray()
        self._skipping = False

    def __len__(self) -> int:
        """Return how many bytes are held."""
        return len(self._held)

    def feed(self, data: bytes) -> bytes:
        """Return whole lines, each with its end; empty when there is none yet."""
        end = data.rfind(b"\n") + 1
        if not end:
            return self._hold(data)
        if self._skipping:
            lines = data[data.find(b"\n") + 1 : end]
            self._skipping = False
        elif self._held:
            lines = bytes(self._held) + data[:end]
            self._held = bytearray()
        else:
            lines = data[:end]
        return lines + self._hold(data[end:]) if end < len(data) else lines

    def cut(self) -> bytes:
        """Give the held line up, to have its room: it becomes a rejected one, and its rest is skipped."""
        line = bytes(self._held) + CUT_MARK + b"\n"
        self._held = bytearray()
        self._skipping = True
        return line

    def finish(self) -> bytes:
        """Return what is held as a line, for the connection has ended."""
        line = bytes(self._held) + b"\n" if self._held else b""
        self._held = bytearray()
        self._skipping = False
        return line

    def _hold(self, data: bytes) -> bytes:
        if self._skipping:
            return b""
        self._held += data
        if len(self._held) <= self._max_line_bytes:
            return b""
        if (padding := padding_bytes(self._held)) > 0:
            self._held[:padding] = NUL
        kept = self._max_line_bytes + (padding > 0)
        if len(self._held) <= kept:
            return b""
        line = bytes(self._held[: kept + 1]) + b"\n"
        self._held = bytearray()
        self._skipping = True
        return line
