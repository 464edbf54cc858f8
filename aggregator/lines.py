"""From raw blocks to events. Pure: no I/O, no clock; no bytes make it raise."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from aggregator.events import Event, EventFields
from aggregator.rejects import Rejects
from aggregator.words import WordCounter
from tally.padding import NUL, is_blank, torn, without_padding
from tally.rejections import SENTENCES, Reason
from tally.settings import Settings

#: How much of a block is looked at before all of it is: garbage seldom comes alone.
_HEAD_BYTES = 8192

#: Stands for a line that is not to be decoded, although it could be.
_UNREADABLE = b"\xff"

#: Without this no time is a leap second, and most garbage need not be looked at twice.
_SECOND_60 = b":60"

#: Why a line is rejected that is short enough and UTF-8, by the error; for any other it is not JSON.
_REASONS: dict[type[Exception], Reason] = {msgspec.ValidationError: "not_an_event", RecursionError: "too_deep"}

_UNDECODABLE = (msgspec.MsgspecError, ValueError, RecursionError)


class LineDecoder:
    """Finds the events in blocks. One instance may be used for ever; what it returns is the caller's."""

    def __init__(self, settings: Settings) -> None:
        self._max_line_bytes = settings.max_line_bytes
        #: What is read of an event, and how it is counted.
        self.fields = EventFields(settings)
        self.lengths = settings.window_lengths
        self.words = WordCounter(
            pattern=settings.word_pattern,
            fold_case=settings.fold_case,
            normalize=settings.normalize_words,
            max_name_bytes=settings.max_name_bytes,
            stop_words=settings.stop_word_set,
            min_length=settings.min_word_length,
        )
        self.max_name_bytes = settings.max_name_bytes
        self.keeps_accepted = settings.accepted_samples > 0
        self.words_by_type = settings.types_with_words

    def events(self, block: bytes, source: str, rejects: Rejects) -> list[Event]:
        """Return the events of a block; its other lines are added to the rejected ones."""
        if len(block) <= self._max_line_bytes or self._no_line_too_long(block):
            events = self._decode_clean(block)
            if events is not None:
                return events
        return self._decode_each(block, source, rejects)

    def reason(self, line: bytes) -> str | None:
        """Return why this line is rejected; None if it is an event, or blank."""
        return self.judge(line)[1]

    def judge(self, line: bytes) -> tuple[Event | None, str | None]:
        """Return the event on this line, or why it is rejected; neither if the line is blank."""
        line = without_padding(line)
        try:
            return self._decode_alone(line), None
        except _UNDECODABLE as error:
            return None, None if is_blank(line) else self._sentence(line, error)

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
            events = self.fields.decode_lines(block)
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
        reasons: list[Reason] = []
        failures, reason_of = 0, _REASONS.get
        # `map` goes on behind the line that raised, and `extend` keeps what came before it: an exception costs nothing
        # where there is none.
        rest = map(self.fields.decode, readable)
        while True:
            try:
                events.extend(rest)
            except _UNDECODABLE as error:
                at = len(events) + failures
                line = lines[at]
                failures += 1
                if line and not line.isspace():
                    rejected.append(line)
                    if readable[at] is not _UNREADABLE:
                        reasons.append(reason_of(type(error), "not_json"))
                    else:
                        reasons.append("too_long" if len(line) > self._max_line_bytes else "not_utf8")
            else:
                rejects.add(*self._judged_again(rejected, reasons, events, rejects), source)
                return events

    def _judged_again(
        self, lines: list[bytes], reasons: list[Reason], events: list[Event], rejects: Rejects
    ) -> tuple[list[bytes], list[Reason]]:
        """Return which of the lines that raised are rejected, and why; those that are events are added to them."""
        # Few need a second look. (A byte is a number here: Python looks for that ten times as fast.)
        leaps = _SECOND_60 in b"\n".join(lines)
        odd = [at for at, line in enumerate(lines) if 0 in line or 0xEF in line or (leaps and _SECOND_60 in line)]
        well = set()
        for at in odd:
            reason = self._look_again(lines[at], reasons[at], events, rejects)
            if reason is None:
                well.add(at)
            else:
                reasons[at] = reason
        if well:
            lines = [line for at, line in enumerate(lines) if at not in well]
            reasons = [reason for at, reason in enumerate(reasons) if at not in well]
        return lines, reasons

    def _look_again(self, line: bytes, why: Reason, events: list[Event], rejects: Rejects) -> Reason | None:
        """Return why a line that raised is rejected; None if it is blank, or an event after all, which is added."""
        text = without_padding(line)
        event = None
        if text is not line or _SECOND_60 in line or torn(line):
            try:
                event = self._decode_alone(text)
                events.append(event)
            except _UNDECODABLE as error:
                why = self._reason(text, error)  # without its padding it may not be too long
        rejects.padded += text is not line or (event is not None and NUL in line)
        return None if event is not None or is_blank(line) else why

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
            return self.fields.decode(readable)
        except msgspec.ValidationError:
            if _SECOND_60 in text:
                with suppress(*_UNDECODABLE):
                    return self.fields.decode_leap_second(readable)
            raise

    def _no_line_too_long(self, lines: bytes) -> bool:
        at, limit = 0, self._max_line_bytes
        while len(lines) - at > limit:
            end = lines.rfind(b"\n", at, at + limit + 1)
            if end < 0:
                return False
            at = end + 1
        return True

    def _reason(self, line: bytes, error: Exception) -> Reason:
        if len(line) > self._max_line_bytes:
            return "too_long"
        return _REASONS.get(type(error), "not_json") if _is_text(line) else "not_utf8"

    def _sentence(self, line: bytes, error: Exception) -> str:
        match self._reason(line, error):
            case "too_long":
                return f"{SENTENCES['too_long']} {self._max_line_bytes} bytes (TALLY_MAX_LINE_BYTES)"
            case "not_utf8":
                return SENTENCES["not_utf8"]
            case "too_deep":
                return SENTENCES["too_deep"]
            case "not_an_event":
                return f"{SENTENCES['not_an_event']}: {error}"
            case _:
                return f"{SENTENCES['not_json']}: {error}"


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
