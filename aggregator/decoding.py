"""From raw blocks to counts. Pure: no I/O, no clock; no bytes make it raise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec

from aggregator.events import Event, EventFields, Time
from aggregator.rejects import Rejects
from aggregator.words import Texts, WordCounter, bound_names
from tally.counts import Counts, WindowCounts
from tally.padding import NUL, is_blank, torn, without_padding
from tally.settings import Settings
from tally.store import Entry
from tally.windows import MAX_FUTURE_SECONDS, WindowLength

#: The year 1: a timestamp below that is taken for it, so that no window is named by a number of 300 digits.
EARLIEST_SECONDS = -62_135_596_800

#: How much of a block is looked at before all of it is: garbage seldom comes alone.
_HEAD_BYTES = 8192

#: Stands for a line that is not to be decoded, although it could be.
_UNREADABLE = b"\xff"

#: Without this no time is a leap second, and most garbage need not be looked at twice.
_SECOND_60 = b":60"

_UNDECODABLE = (msgspec.MsgspecError, ValueError, RecursionError)


class Decoder:
    """Adds up blocks. One instance may be used for ever; what it returns is the caller's."""

    def __init__(self, settings: Settings) -> None:
        self._fields = EventFields(settings)
        self._max_line_bytes = settings.max_line_bytes
        self._window: WindowLength = settings.window_lengths[0]
        self._words = WordCounter(
            pattern=settings.word_pattern,
            fold_case=settings.fold_case,
            normalize=settings.normalize_words,
            max_name_bytes=settings.max_name_bytes,
            stop_words=settings.stop_word_set,
            min_length=settings.min_word_length,
        )
        self._max_name_bytes = settings.max_name_bytes

    def count(self, entries: Iterable[Entry]) -> Counts:
        """Return what these blocks add up to."""
        steps = self.count_in_steps(entries)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                counts: Counts = done.value
                return counts

    def count_in_steps(self, entries: Iterable[Entry]) -> Generator[None, None, Counts]:
        """Do the same, a block a step, so that others may have the processor in between."""
        counts = Counts()
        texts: dict[int, Texts] = {}  # by window
        rejects = Rejects()
        for entry in entries:
            if entry.lines is None:
                rejects.add([b""], entry.source, "the entry has no field 'lines'")
                continue
            counts.bytes += len(entry.lines)
            events = self._decode(entry.lines, entry.source, rejects)
            for start, group in self._by_window(events, entry.arrived_seconds):
                window = counts.windows.get(start)
                if window is None:
                    window = counts.windows[start] = WindowCounts()
                    texts[start] = Texts()
                window.types.update(self._fields.types(group))
                texts[start].add(self._fields.texts(group))
            yield
        for start, window in counts.windows.items():
            pieces = texts[start].pieces()
            window.words = self._words.count(pieces, ascii_=texts[start].ascii)
            bound_names(window.types, self._max_name_bytes)
        counts.rejected, counts.padded = rejects.number, rejects.padded
        counts.samples = rejects.samples(self.reason)
        return counts

    def reason(self, line: bytes) -> str | None:
        """Return why this line is rejected; None if it is an event, or blank."""
        return self.judge(line)[1]

    def judge(self, line: bytes) -> tuple[Event | None, str | None]:
        """Return the event on this line, or why it is rejected; neither if the line is blank."""
        line = without_padding(line)
        try:
            return self._decode_alone(line), None
        except _UNDECODABLE as error:
            return None, None if is_blank(line) else self._reason(line, error)

    def _decode(self, block: bytes, source: str, rejects: Rejects) -> list[Event]:
        if len(block) <= self._max_line_bytes or self._no_line_too_long(block):
            events = self._decode_clean(block)
            if events is not None:
                return events
        return self._decode_each(block, source, rejects)

    def _decode_clean(self, block: bytes) -> list[Event] | None:
        """Decode all lines at once; return None unless every one of them is an event, and now and then although it is.

        msgspec's decode_lines is no judge of that by itself: it takes an event that goes on over several lines, and
        several events in one. Between `}` and `{` no event can go on, so if every line end stands between those,
        each line holds at least one; and if there are as many events as lines, exactly one.
        """
        head = block[: block.rfind(b"\n", 0, _HEAD_BYTES) + 1].rstrip(b"\n")
        if _ends_between_braces(head) is None:
            return None
        line_ends = _ends_between_braces(block)
        if line_ends is None:
            return None
        try:
            block.decode()  # msgspec looks only at the strings that it returns
            events = self._fields.decode_lines(block)
        except _UNDECODABLE:
            return None
        return events if len(events) == line_ends + 1 else None

    def _decode_each(self, block: bytes, source: str, rejects: Rejects) -> list[Event]:
        """Decode line by line: return the events, while the others are rejected."""
        lines = block.split(b"\n")
        readable = lines if _is_text(block) else _unreadable_marked(lines)
        if len(block) > self._max_line_bytes:
            readable = [line if len(line) <= self._max_line_bytes else _UNREADABLE for line in readable]
        events: list[Event] = []
        rejected: list[bytes] = []
        failures = 0
        # `map` goes on behind the line that raised, and `extend` keeps what came before it: an exception costs nothing
        # where there is none.
        rest = map(self._fields.decode, readable)
        while True:
            try:
                events.extend(rest)
            except _UNDECODABLE:
                line = lines[len(events) + failures]
                failures += 1
                if line and not line.isspace():
                    rejected.append(line)
            else:
                # Few of those need a second look. (A byte is a number here: Python looks for that ten times as fast.)
                leaps = _SECOND_60 in b"\n".join(rejected)
                odd = [each for each in rejected if 0 in each or 0xEF in each or (leaps and _SECOND_60 in each)]
                well = {each for each in odd if self._turns_out_well(each, events, rejects)}
                rejects.add([each for each in rejected if each not in well] if well else rejected, source)
                return events

    def _turns_out_well(self, line: bytes, events: list[Event], rejects: Rejects) -> bool:
        """Return whether a line that raised is blank, or an event after all, which is added to the others."""
        text = without_padding(line)
        event = None
        if text is not line or _SECOND_60 in line or torn(line):
            with suppress(*_UNDECODABLE):
                event = self._decode_alone(text)
        if event is not None:
            events.append(event)
        rejects.padded += text is not line or (event is not None and NUL in line)
        return event is not None or is_blank(line)

    def _decode_alone(self, text: bytes) -> Event:
        """Return the event on a line, without its padding. Raises what is in _UNDECODABLE."""
        try:
            return self._decode_text(text)
        except _UNDECODABLE:
            parts = torn(text) if len(text) <= self._max_line_bytes else None
            if parts is not None and not self._is_event(parts[0]):
                with suppress(*_UNDECODABLE):
                    return self._decode_text(parts[1])
            raise

    def _is_event(self, text: bytes) -> bool:
        with suppress(*_UNDECODABLE):
            self._decode_text(text)
            return True
        return False

    def _decode_text(self, text: bytes) -> Event:
        readable = text if len(text) <= self._max_line_bytes and _is_text(text) else _UNREADABLE
        try:
            return self._fields.decode(readable)
        except msgspec.ValidationError:
            if _SECOND_60 in text:
                with suppress(*_UNDECODABLE):
                    return self._fields.decode_leap_second(readable)
            raise

    def _no_line_too_long(self, lines: bytes) -> bool:
        at, limit = 0, self._max_line_bytes
        while len(lines) - at > limit:
            end = lines.rfind(b"\n", at, at + limit + 1)
            if end < 0:
                return False
            at = end + 1
        return True

    def _by_window(self, events: list[Event], arrived_seconds: float) -> Iterable[tuple[int, list[Event]]]:
        """Return events by the start of their window: that of their time, or of their arrival."""
        if not events:
            return ()
        times: list[Any] = self._fields.times(events)
        if times[0] is None and times.count(None) == len(times):
            return ((self._window.start_of(arrived_seconds), events),)
        units = self._fields.units_per_second
        try:
            earliest, latest = min(times), max(times)
        except TypeError:  # not all of one kind
            return self._by_window_each(events, times, arrived_seconds)
        moments = isinstance(earliest, datetime)
        if moments:
            earliest, latest, units = earliest.timestamp(), latest.timestamp(), 1
        if earliest < EARLIEST_SECONDS * units or latest > (arrived_seconds + MAX_FUTURE_SECONDS) * units:
            return self._by_window_each(events, times, arrived_seconds)
        width = self._window.seconds * units
        first = int(earliest // width)
        if first == latest // width:
            return ((first * self._window.seconds, events),)
        groups: dict[int, list[Event]] = defaultdict(list)
        for at, event in zip([at.timestamp() for at in times] if moments else times, events, strict=True):
            groups[at // width].append(event)
        return [(int(number) * self._window.seconds, group) for number, group in groups.items()]

    def _by_window_each(
        self, events: list[Event], times: list[Time], arrived_seconds: float
    ) -> Iterable[tuple[int, list[Event]]]:
        """Do the same, whatever the times are: of several kinds, missing, ahead of their arrival, before the year 1."""
        arrival = self._window.start_of(arrived_seconds)
        latest_seconds = arrived_seconds + MAX_FUTURE_SECONDS

        def start_of(at: Time) -> int:
            if at is None:
                return arrival
            units = 1 if isinstance(at, datetime) else self._fields.units_per_second
            count = at.timestamp() if isinstance(at, datetime) else at
            if count > latest_seconds * units:
                return arrival
            return int(max(count, EARLIEST_SECONDS * units) // (self._window.seconds * units)) * self._window.seconds

        groups: dict[int, list[Event]] = defaultdict(list)
        for at, event in zip(times, events, strict=True):
            groups[start_of(at)].append(event)
        return groups.items()

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


def _ends_between_braces(block: bytes) -> int | None:
    """Return how many line ends there are, if each stands between `}` and `{`; else None."""
    line_ends = block.count(b"\n")
    # The lines of a program begin alike, and the longer what is looked for, the faster it is found.
    beginning = block[: block.find(b":", 0, 64) + 1]
    if beginning[:1] == b"{" and line_ends == block.count(b"}\n" + beginning):
        return line_ends
    between = block.count(b"}\n{")
    if line_ends != between and b"\r" in block:
        between += block.count(b"}\r\n{")
    return line_ends if line_ends == between else None


def _unreadable_marked(lines: list[bytes]) -> list[bytes]:
    """Return the lines, with _UNREADABLE in the place of those that are not UTF-8."""
    marked = lines.copy()
    ascii_ = list(map(bytes.isascii, lines))  # few are not, so only those are gone through
    at = -1
    with suppress(ValueError):
        while True:
            at = ascii_.index(False, at + 1)
            if not _is_text(lines[at]):
                marked[at] = _UNREADABLE
    return marked


def _is_text(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
