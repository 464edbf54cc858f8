"""From raw blocks to counts. Pure: no I/O, no clock; no bytes make it raise."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Annotated

import msgspec

from tally.counts import Counts, Sample, WindowCounts
from tally.keys import OTHER
from tally.settings import Settings
from tally.store import Entry
from tally.windows import MAX_FUTURE_SECONDS, WindowLength

#: How much of a rejected line is kept.
SAMPLE_BYTES = 1024

#: How many rejected lines of one batch are kept, so that a flood of garbage costs Redis no more than a trickle.
MAX_SAMPLES = 20

#: The year 1: a timestamp below that is taken for it, lest a window be named by a number of 300 digits.
EARLIEST_SECONDS = -62_135_596_800

_NUMBERS = frozenset((int, float))


class Event(msgspec.Struct, gc=False):
    """What is read of a line; other fields are passed over."""

    event_type: str
    data: str
    timestamp: int | float | Annotated[datetime, msgspec.Meta(tz=True)] | None = None


_types_of, _data_of = attrgetter("event_type"), attrgetter("data")
_timestamp_of = attrgetter("timestamp")


class Decoder:
    """Adds up blocks. One instance may be used for ever; what it returns is the caller's."""

    def __init__(self, settings: Settings) -> None:
        self._json = msgspec.json.Decoder(Event)
        self._max_line_bytes = settings.max_line_bytes
        self._window: WindowLength = settings.window_lengths[0]
        self._words = WordCounter(
            pattern=settings.word_pattern,
            fold_case=settings.fold_case,
            max_name_bytes=settings.max_name_bytes,
        )
        self._max_name_bytes = settings.max_name_bytes

    def count(self, entries: Iterable[Entry]) -> Counts:
        """What these blocks add up to."""
        counts = Counts()
        pieces: dict[int, Counter[str]] = {}  # window -> white-space separated piece of data -> how often
        for entry in entries:
            if entry.lines is None:
                self._reject(counts, b"", "the entry has no field 'lines'", entry)
                continue
            counts.bytes += len(entry.lines)
            events = self._decode(entry, counts)
            for start, group in self._by_window(events, entry.arrived_seconds):
                window = counts.windows.get(start)
                if window is None:
                    window = counts.windows[start] = WindowCounts()
                    pieces[start] = Counter()
                window.types.update(map(_types_of, group))
                pieces[start].update(" ".join(map(_data_of, group)).split())
        for start, window in counts.windows.items():
            window.words = self._words.count(pieces[start])
            _bound_names(window.types, self._max_name_bytes)
        return counts

    def _decode(self, entry: Entry, counts: Counts) -> list[Event]:
        lines = entry.lines
        assert lines is not None
        if len(lines) <= self._max_line_bytes or self._no_line_too_long(lines):
            events = self._decode_clean(lines)
            if events is not None:
                return events
        return self._decode_each(entry, counts)

    def _decode_clean(self, lines: bytes) -> list[Event] | None:
        """All lines at once; None unless every one of them is an event.

        msgspec's decode_lines is no judge of that by itself: it takes an event that goes on over several lines, and
        several events in one. Between `}` and `{` no event can go on, so if every line end stands between those,
        each line holds at least one; and if there are as many events as lines, exactly one.
        """
        line_ends = lines.count(b"\n")
        if line_ends != lines.count(b"}\n{") and line_ends != lines.count(b"}\n{") + lines.count(b"}\r\n{"):
            return None
        try:
            lines.decode()  # msgspec looks only at the strings that it returns
            events: list[Event] = self._json.decode_lines(lines)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        return events if len(events) == line_ends + 1 else None

    def _decode_each(self, entry: Entry, counts: Counts) -> list[Event]:
        """Line by line: the good ones, while the others are rejected."""
        assert entry.lines is not None
        events: list[Event] = []
        decode, add = self._json.decode, events.append
        valid_text = _is_text(entry.lines)
        for line in entry.lines.split(b"\n"):
            try:
                if len(line) > self._max_line_bytes:
                    raise ValueError("line too long")
                if not valid_text:
                    line.decode()
                add(decode(line))
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                if line and not line.isspace():
                    self._reject(counts, line, self._reason(line, error), entry)
        return events

    def _no_line_too_long(self, lines: bytes) -> bool:
        at, limit = 0, self._max_line_bytes
        while len(lines) - at > limit:
            end = lines.rfind(b"\n", at, at + limit + 1)
            if end < 0:
                return False
            at = end + 1
        return True

    def _by_window(self, events: list[Event], arrived_seconds: float) -> Iterable[tuple[int, list[Event]]]:
        """Events by the start of their window: that of their timestamp, or of their arrival."""
        if not events:
            return ()
        arrival = self._window.start_of(arrived_seconds)
        latest_seconds = arrived_seconds + MAX_FUTURE_SECONDS
        timestamps = list(map(_timestamp_of, events))
        if _NUMBERS.issuperset(map(type, timestamps)):
            earliest, latest = min(timestamps), max(timestamps)
            first = self._window.start_of(max(earliest, EARLIEST_SECONDS))
            if latest < first + self._window.seconds and latest <= latest_seconds:
                return ((first, events),)

        def start_of(event: Event) -> int:
            at = event.timestamp
            if at is None:
                return arrival
            seconds = at.timestamp() if isinstance(at, datetime) else at
            return arrival if seconds > latest_seconds else self._window.start_of(max(seconds, EARLIEST_SECONDS))

        # Runs of one window: a stream is nearly in order, so there are few, and equal ones are added up anyway.
        return [(start, list(run)) for start, run in groupby(events, key=start_of)]

    def _reason(self, line: bytes, error: Exception) -> str:
        if len(line) > self._max_line_bytes:
            return f"longer than {self._max_line_bytes} bytes (TALLY_MAX_LINE_BYTES)"
        if not _is_text(line):
            return "not UTF-8"
        if isinstance(error, RecursionError):
            return "nested too deeply"
        if isinstance(error, msgspec.ValidationError):
            return f"not an event: {error}"
        return f"not JSON: {error}"

    def _reject(self, counts: Counts, line: bytes, reason: str, entry: Entry) -> None:
        counts.rejected += 1
        if len(counts.samples) < MAX_SAMPLES:
            counts.samples.append(Sample(line[:SAMPLE_BYTES], reason, entry.source))


class WordCounter:
    """Counts the words of texts that are already split on white space.

    The pattern runs over the distinct pieces only, which makes it about as fast as the split itself. So a word
    never goes over white space, whatever the pattern says.
    """

    def __init__(self, *, pattern: str, fold_case: bool, max_name_bytes: int) -> None:
        self._find: Callable[[str], Iterable[re.Match[str]]] = re.compile(pattern).finditer
        self._fold_case = fold_case
        self._max_name_bytes = max_name_bytes

    def count(self, pieces: Counter[str]) -> Counter[str]:
        """How often each word stands in them, in the order in which the words first appear."""
        words: Counter[str] = Counter()
        for piece, times in pieces.items():
            for match in self._find(piece.casefold() if self._fold_case else piece):
                words[match[0]] += times
        _bound_names(words, self._max_name_bytes)
        return words


def _bound_names(counts: Counter[str], max_name_bytes: int) -> None:
    """Move the counts of names that are too long to OTHER."""
    # A character has at most four bytes: most names need no encoding to be judged.
    suspects = [name for name in counts if len(name) * 4 > max_name_bytes]
    for name in suspects:
        if len(name.encode()) > max_name_bytes:
            counts[OTHER] += counts.pop(name)


def _is_text(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
