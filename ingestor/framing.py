"""Cutting a source's bytes into blocks of whole lines. Pure: no I/O, no clock.

Position: how many bytes of the source came before, since its start. A block knows the position of its first byte
and of the byte behind its last, line ends included; together the blocks of a source cover it without a gap.
"""

from __future__ import annotations

from ingestor.fingerprints import FINGERPRINT_BYTES, Fingerprint
from tally.padding import NUL, padding_bytes
from tally.store import Block


class Framer:
    """A pile of bytes that are read but not yet cut. Feed it chunks; take blocks off it.

    Lines end with `\\n`; the last end of a block is left out of it. A line that fits neither the limit of a line
    nor a block is cut down to one byte over the limit, by which the aggregator knows and rejects it, and the rest
    of it is skipped as it comes: so the pile stays small whatever comes. What pads a line (`tally.padding`) is no part
    of it: where there is so much that the two do not fit, one NUL is left of it, and the line is whole. Nothing else is
    changed: `\\r`, less padding and bytes that are not UTF-8 are the aggregator's to judge.
    """

    def __init__(
        self, *, max_line_bytes: int, max_block_bytes: int, position: int = 0, fingerprints: bool = False
    ) -> None:
        """With `fingerprints`, each block has those of the bytes before its start and before its end.

        By the latter the source is known again, by the former that it is the one that goes on there.
        """
        self._max_line_bytes = max_line_bytes
        self._max_block_bytes = max_block_bytes
        self._longest_bytes = max(max_line_bytes, max_block_bytes)  # of a line that is not cut, but for its padding
        self._fingerprints = fingerprints
        self.restart(position)

    def restart(self, position: int, *, before: bytes = b"") -> None:
        """Forget what was fed, and go on as if the next chunk came from this position, behind these bytes."""
        self._pile = bytearray()
        self._before = before
        self._position = position  # of the pile's first byte
        self._searched = 0  # bytes at the front of the pile in which there is no line end
        self._padding_dropped = 0  # bytes for which the pile's first one, a NUL, stands besides itself
        self._overlong: tuple[int, bytes] | None = None  # the line being skipped: its position, its beginning
        self._last = self._fingerprint()  # of the bytes before the next block

    @property
    def piled_bytes(self) -> int:
        """How much is held, in bytes."""
        return len(self._pile)

    @property
    def position(self) -> int:
        """Where the next block starts, in bytes."""
        return self._position if self._overlong is None else self._overlong[0]

    def feed(self, chunk: bytes) -> None:
        """Add what came next from the source."""
        self._pile += chunk

    def take(self, *, finished: bool = False) -> Block | None:
        """Cut the next block off the pile; None when it holds no whole line.

        With `finished` the source (or a connection, or a program) has ended: what is left is a line too.
        """
        if self._overlong is not None:
            return self._skip_overlong(finished)
        if self._padding_dropped:
            self._shorten_padding()  # as if all of it had come at once
        end = self._line_end()
        if end is None and len(self._pile) > self._longest and self._shorten_padding():
            end = self._line_end()
        if end is not None:
            return self._cut(lines=end, through=end + 1)
        if len(self._pile) > self._longest:
            kept = self._padding_kept + self._max_line_bytes + 1
            self._overlong = self._position, bytes(self._pile[:kept])
            return self._skip_overlong(finished)
        if finished and self._pile:
            return self._cut(lines=len(self._pile), through=len(self._pile))
        return None

    def _line_end(self) -> int | None:
        """Return where the block ends: the last line end that fits a block, else the first one behind that."""
        end = self._pile.rfind(b"\n", self._searched, self._max_block_bytes)
        if end < 0 and len(self._pile) > self._max_block_bytes:
            end = self._pile.find(b"\n", max(self._searched, self._max_block_bytes), self._longest + 1)
        if end < 0:
            self._searched = len(self._pile)  # or a line that trickles in would be searched again with every byte
            return None
        return end

    @property
    def _padding_kept(self) -> int:
        """How many bytes stand for the padding of the pile's first line, if that was shortened."""
        return int(self._pile[:1] == NUL)

    @property
    def _longest(self) -> int:
        """How many bytes of the pile may be a line that is not cut."""
        return self._longest_bytes + self._padding_kept

    def _shorten_padding(self) -> bool:
        """Leave one NUL of what pads the pile's first line; False when there is no more than that.

        Whether it is padding is decided by the bytes that are too many, and not by what came behind them: the lines are
        the same in whatever pieces they come.
        """
        within = self._pile if self._padding_dropped else self._pile[: self._longest + 1]
        if padding_bytes(within) <= len(NUL):
            return False
        padding = padding_bytes(self._pile)
        self._pass(self._pile[len(NUL) if self._padding_dropped else 0 : padding])
        self._pile[:padding] = NUL
        self._padding_dropped += padding - len(NUL)
        self._searched = 0
        return True

    def _pass(self, read: bytes | bytearray) -> None:
        """Remember the last of what was read: a block leaves out line ends, what is too long, and padding."""
        if self._fingerprints:
            self._before = (self._before + read[-FINGERPRINT_BYTES:])[-FINGERPRINT_BYTES:]

    def _skip_overlong(self, finished: bool) -> Block | None:
        assert self._overlong is not None
        start, beginning = self._overlong
        end = self._pile.find(b"\n")
        skipped = len(self._pile) if end < 0 else end + 1
        self._remove(lines=0, through=skipped)
        if end < 0 and not finished:
            return None
        self._overlong = None
        return self._block(start, beginning)

    def _cut(self, *, lines: int, through: int) -> Block:
        start = self._position
        return self._block(start, self._remove(lines=lines, through=through))

    def _remove(self, *, lines: int, through: int) -> bytes:
        with memoryview(self._pile) as view:
            cut = bytes(view[:lines])
            self._pass(bytes(view[max(bool(self._padding_dropped), through - FINGERPRINT_BYTES) : through]))
        del self._pile[:through]
        self._position += self._padding_dropped + through
        self._searched = self._padding_dropped = 0
        return cut

    def _block(self, start: int, lines: bytes) -> Block:
        before, self._last = self._last, self._fingerprint()
        return Block(start, self._position, lines, self._last, before)

    def _fingerprint(self) -> str:
        return str(Fingerprint.of(self._before)) if self._fingerprints else ""
