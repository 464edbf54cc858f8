"""Cutting JSON that comes in pieces into its elements. Pure: no I/O, no clock.

msgspec finds the elements and checks them, as fast as they can be copied, but takes whole values only. So the body is
cut behind an element first. Where that is is guessed, which msgspec proves or refutes; or else found by patterns that
see through some levels of brackets; or else by counting brackets. Each byte is looked at a few times at the most,
whatever the body holds and however it is cut into pieces, and what is held is a piece and the element it ends in.
"""

from __future__ import annotations

import operator
import re
from itertools import accumulate
from typing import Literal

import msgspec

from tally.padding import NUL

#: What may stand in front of JSON: white space, the bytes of a byte order mark, and NUL.
IN_FRONT = b" \t\r\n\xef\xbb\xbf\x00"

#: Brackets within brackets; msgspec takes fewer.
MAX_DEPTH = 1024

#: How many ends of objects are tried, the last one first, before brackets are looked at.
MAX_GUESSES = 3

_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_VALUES = msgspec.json.Decoder(msgspec.Raw)

_BYTE = re.compile(r" \(byte (\d+)\)$")

# Possessive, so that nothing is tried a second time.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'


def _nested(levels: int) -> bytes:
    """Return a pattern for brackets and what is between, with so many levels of brackets."""
    inner = b"(?!)" if levels == 1 else _nested(levels - 1)
    return rb'[\[{](?:[^"\[\]{}]++|' + _STRING + b"|" + inner + rb")*+[\]}]"


#: Where some do not end, it looks at what is in them once for each level.
_NESTED = _nested(6)

_WHOLE = rb'(?:[^",\[\]{}]++|' + _STRING + b"|" + _NESTED + b")*+"
_RUN_OF_ARRAY = re.compile(b"(?:" + _WHOLE + b",)*+", re.DOTALL)
_RUN_OF_VALUES = re.compile(rb'(?:[^"\[\]{}]*+' + _NESTED + b")*+", re.DOTALL)
_REST_OF_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_ANY_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+("?+)', re.DOTALL)

#: By how many levels a byte changes the depth, as a signed byte; which are no comma, and which are no closing bracket.
_CHANGE = bytes({0x5B: 1, 0x7B: 1, 0x5D: 255, 0x7D: 255}.get(each, 0) for each in range(256))
_COMMA = bytes(each == 0x2C for each in range(256))
_NOT_CLOSING = bytes(each not in (0x5D, 0x7D) for each in range(256))

_CLOSED, _WRONGLY_CLOSED = b"]}"


class NotEvents(ValueError):
    """The body is no JSON of events; the text says what is wrong, and where."""


class Elements:
    """Takes a body of JSON in pieces: an array, or concatenated values of which the first is an object."""

    def __init__(self) -> None:
        self.count = 0  # of the elements that were given
        self._padding = b""  # what stands for that of the body, in front of its first element, for aggregators to count
        self._kind: Literal["array", "values", "over"] | None = None
        self._pile = bytearray()  # begins with an element
        self._position = 0  # of the pile's first byte in the body
        # How far brackets were counted, without coming to an end of an element, and what is open there.
        self._counted = 0
        self._depth = 0
        self._in_string = False

    def feed(self, piece: bytes) -> bytes:
        """Add what came next; elements that are whole now, each on a line of its own. Raises NotEvents."""
        self._pile += piece
        if self._kind is None:
            self._begin()
        if self._kind is None:
            return b""
        if self._kind == "over":
            self._nothing_behind()
            return b""
        lines = b""
        if not self._counted:
            lines = self._guess() or self._take(self._end_of_run())
        return lines or self._take(self._end_by_counting())

    def finish(self) -> bytes:
        """Return what is left at the body's end, as `feed` does. Raises NotEvents."""
        if self._kind is None:
            raise NotEvents("it is neither an object nor an array")
        if self._kind == "values":
            return self._lines(bytes(self._pile))
        lines = self._take(self._end_by_counting()) if self._kind == "array" else b""
        if self._kind == "array":
            raise NotEvents("it ends in the middle of the array")
        self._nothing_behind()
        return lines

    def _begin(self) -> None:
        front = len(self._pile) - len(self._pile.lstrip(IN_FRONT))
        if self._pile[:front].strip():
            self._padding = NUL
        self._forget(front)
        if self._pile.startswith(b"["):
            self._kind = "array"
            self._forget(1)
        elif self._pile.startswith(b"{"):
            self._kind = "values"
        elif self._pile:
            raise NotEvents("it is neither an object nor an array")

    def _nothing_behind(self) -> None:
        if self._pile.strip():
            raise NotEvents(f"something stands behind the array (byte {self._position})")
        self._forget(len(self._pile))

    def _guess(self) -> bytes:
        """Return elements up to one of the last ends of an object; none if all of those are inside of an element.

        What msgspec can read from the start of an element up to there is a run of whole elements, and nothing else is.
        """
        needle = b"}" if self._kind == "values" else b"},"
        end = len(self._pile)
        for _ in range(MAX_GUESSES):
            end = self._pile.rfind(needle, 0, end)
            if end < 0:
                break
            try:
                lines = self._lines(bytes(self._pile[: end + 1]))
            except NotEvents:
                continue  # or it is malformed: that is found out, and where, when its end is known
            self._forget(end + len(needle))
            return lines
        return b""

    def _take(self, end: int) -> bytes:
        """Return the elements up to `end`, which is behind an element and its comma, or behind the array; 0 is none."""
        if not end:
            return b""
        if self._kind == "values":
            lines = self._lines(bytes(self._pile[:end]))
        else:
            run = bytes(self._pile[: end - 1])
            closed = self._pile[end - 1] == _CLOSED
            if self._pile[end - 1] == _WRONGLY_CLOSED:
                raise NotEvents(f"it closes what it has not opened (byte {self._position + end - 1})")
            if run.strip():
                lines = self._lines(run)
            elif closed and not self.count:
                lines = b""
            else:
                raise NotEvents(f"an element is missing (byte {self._position + end - 1})")
            if closed:
                self._kind = "over"
        self._forget(end)
        return lines

    def _end_of_run(self) -> int:
        """Return where elements end that are whole and not nested deeply, from the pile's start on; 0 if none does."""
        return _end(_RUN_OF_VALUES if self._kind == "values" else _RUN_OF_ARRAY, self._pile, 0)

    def _end_by_counting(self) -> int:
        """Return where the last element ends that is whole, or the array does; 0 if none does.

        Goes on where it was, and remembers how far it came. Raises NotEvents.
        """
        pile, start = self._pile, self._counted
        if self._in_string:
            start = _end(_REST_OF_STRING, pile, start)
            self._in_string = pile[start : start + 1] != b'"'
            if self._in_string:
                self._counted = start  # a backslash waits for what it escapes
                return 0
            start += 1
        plain = _ANY_STRING.sub(_blank, bytes(pile[start:]))
        through = plain.find(b'"')
        if through >= 0:
            self._in_string = True
            self._counted = _end(_REST_OF_STRING, pile, start + through + 1)
            plain = plain[:through]
        else:
            self._counted = len(pile)
        is_array = self._kind == "array"
        depth = self._depth + is_array
        depths = list(accumulate(memoryview(plain.translate(_CHANGE)).cast("b"), initial=depth))[1:]
        self._depth = (depths[-1] if depths else depth) - is_array
        if is_array and 0 in depths:
            return start + depths.index(0) + 1
        if self._depth > MAX_DEPTH:
            raise NotEvents("it is nested too deeply")
        ends = (
            map(operator.sub, depths, plain.translate(_COMMA))
            if is_array
            else map(operator.add, depths, plain.translate(_NOT_CLOSING))
        )
        behind = list(ends)[::-1]  # 0 where an element ends
        return start + len(behind) - behind.index(0) if 0 in behind else 0

    def _lines(self, run: bytes) -> bytes:
        """Return the elements of a run of whole ones, each with a line end. Raises NotEvents."""
        is_array = self._kind == "array"
        try:
            values = _ARRAY.decode(b"[%b]" % run) if is_array else _VALUES.decode_lines(run)
        except RecursionError:
            raise NotEvents("it is nested too deeply") from None
        except msgspec.MsgspecError as error:
            start = self._position - is_array
            raise NotEvents(_BYTE.sub(lambda at: f" (byte {start + int(at[1])})", str(error))) from None
        self.count += len(values)
        # Line ends are between tokens, or msgspec would have refused them.
        lines = [bytes(value).replace(b"\n", b" ") for value in values] if b"\n" in run else values
        padding, self._padding = (self._padding, b"") if lines else (b"", self._padding)
        return padding + b"\n".join([*lines, b""])

    def _forget(self, through: int) -> None:
        del self._pile[:through]
        self._position += through
        self._counted, self._depth, self._in_string = 0, 0, False


def _end(pattern: re.Pattern[bytes], pile: bytearray, at: int) -> int:
    found = pattern.match(pile, at)
    assert found is not None  # each of them matches nothing, too
    return found.end()


def _blank(string: re.Match[bytes]) -> bytes:
    """Blanks for a string; quotation marks for one that does not end."""
    return (b" " if string[1] else b'"') * (string.end() - string.start())
