"""The report of `tally check`: what some lines would count as, which are rejected, which settings might fit better.

How people read it is in report_text. Pure but for reading the file that it is given; it speaks to no Redis.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO

import msgspec

from aggregator.decoding import Decoder
from aggregator.events import EventFields
from tally.cli.suggest import Suggestion, suggest, suggest_time
from tally.padding import NUL, is_blank, padding_bytes, without_padding
from tally.printing import printable
from tally.settings import Settings, SettingsError, load
from tally.store import Entry
from tally.windows import MAX_FUTURE_SECONDS

#: Line numbers that are kept of each reason, and reasons that are told apart.
_NUMBERS_KEPT, _MAX_REASONS = 5, 50

#: Rows of the most frequent types and words.
_ROWS = 10

#: Characters of a line that are shown.
_SHOWN = 120

#: Lines counted at once; what settings are guessed from: so many lines, in so many bytes.
_CHUNK_LINES, _SAMPLE_LINES, _SAMPLE_BYTES = 1000, 1000, 4 << 20

#: Bytes read at once of a line that is too long, or padded.
_PIECE_BYTES = 1 << 16


@dataclass(slots=True)
class Rejection:
    """Lines that are rejected for one reason: how many, the numbers of the first few (from 1), and the first."""

    reason: str
    count: int = 0
    lines: list[int] = field(default_factory=list)
    example: str = ""


@dataclass(slots=True)
class Report:
    """What the lines come to. Times are Unix seconds: the start of the first window and of the last."""

    lines: int = 0
    blank: int = 0
    events: int = 0
    rejected: int = 0
    padded: int = 0  # lines in front of which NULs or byte order marks are passed over
    words: int = 0
    first_window: int | None = None
    last_window: int | None = None
    without_time: int = 0
    ahead: int = 0  # over an hour ahead of the clock, so counted at their arrival
    rejections: list[Rejection] = field(default_factory=list)
    top_types: dict[str, int] = field(default_factory=dict)
    top_words: dict[str, int] = field(default_factory=dict)
    hint: str | None = None  # what the file seems to be instead of lines, and how to make lines of it
    suggestion: Suggestion | None = None
    suggestion_events: int = 0  # of the lines that it was made from, how many would be events with it
    suggestion_lines: int = 0


def read_lines(file: BinaryIO, *, max_line_bytes: int, most_lines: int) -> Iterator[bytes]:
    """Yield lines without their ends, `most_lines` of them, or all with 0.

    Of a line that is too long no more than a byte over the limit is kept, and of what pads a line a NUL, as the
    ingestor does.
    """
    made = 0
    while (most_lines == 0 or made < most_lines) and (line := file.readline(max_line_bytes + 1)):
        piece = line
        while not piece.endswith(b"\n") and (piece := file.readline(_PIECE_BYTES)):
            if len(line) <= padding_bytes(line) + max_line_bytes:
                line += piece
                line = NUL + line[padding:] if (padding := padding_bytes(line)) else line
        line = line.removesuffix(b"\n")
        yield line[: padding_bytes(line) + max_line_bytes + 1]
        made += 1


def report_on(lines: Iterable[bytes], settings: Settings, *, now_seconds: float) -> Report:
    """Say what these lines, without their ends, would count as if they arrived now."""
    return _Check(settings, now_seconds).run(lines)


def _most_frequent(counts: Counter[str]) -> dict[str, int]:
    """Return the first _ROWS, equal ones by name."""
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:_ROWS])


class _Check:
    """One run: the report as it grows, and what it is made from."""

    def __init__(self, settings: Settings, now_seconds: float) -> None:
        self._settings = settings
        self._now_seconds = now_seconds
        self._decoder = Decoder(settings)
        self._fields = EventFields(settings)
        self._types: Counter[str] = Counter()
        self._words: Counter[str] = Counter()
        self._reasons: dict[str, Rejection] = {}
        self._sample: list[bytes] = []
        self._sample_bytes = 0
        self._first_line: bytes | None = None  # that is not blank
        self._report = Report()

    def run(self, lines: Iterable[bytes]) -> Report:
        report = self._report
        chunk: list[bytes] = []
        for line in lines:
            chunk.append(line)
            if len(chunk) == _CHUNK_LINES:
                self._add(chunk)
                chunk = []
        self._add(chunk)
        report.events, report.words = self._types.total(), self._words.total()
        report.top_types, report.top_words = _most_frequent(self._types), _most_frequent(self._words)
        report.rejections = sorted(self._reasons.values(), key=lambda each: -each.count)
        if report.rejected > report.events and self._first_line is not None:
            report.hint = _hint(self._first_line)
        self._suggest()
        return report

    def _add(self, chunk: list[bytes]) -> None:
        report = self._report
        counts = self._decoder.count([_entry(chunk, self._now_seconds)])
        for window in counts.windows.values():
            self._types.update(window.types)
            self._words.update(window.words)
        report.rejected += counts.rejected
        report.padded += counts.padded
        events = []
        for padded_line in chunk:
            report.lines += 1
            if is_blank(padded_line):
                report.blank += 1
                continue
            line = without_padding(padded_line)
            if self._first_line is None:
                self._first_line = line
            if self._sample_bytes + len(line) <= _SAMPLE_BYTES and len(self._sample) < _SAMPLE_LINES:
                self._sample.append(line)
                self._sample_bytes += len(line)
            event, reason = self._decoder.judge(line)
            if reason is None:
                events.append(event)
            else:
                self._reject(line, reason)
        self._look_at_times(events, (window.start for window in counts.windows))

    def _reject(self, line: bytes, reason: str) -> None:
        # Where in a line it stops being JSON is of no use in telling one reason from another.
        reason = re.sub(r" \(byte \d+\)$", "", reason)
        if reason not in self._reasons and len(self._reasons) >= _MAX_REASONS:
            reason = "other reasons"
        rejection = self._reasons.setdefault(reason, Rejection(reason, example=_shown(line)))
        rejection.count += 1
        if len(rejection.lines) < _NUMBERS_KEPT:
            rejection.lines.append(self._report.lines)

    def _look_at_times(self, events: list[Any], starts: Iterable[int]) -> None:
        report, latest_seconds = self._report, self._now_seconds + MAX_FUTURE_SECONDS
        for at in self._fields.times(events):
            if at is None:
                report.without_time += 1
            elif isinstance(at, datetime):
                report.ahead += at.timestamp() > latest_seconds
            else:
                report.ahead += at > latest_seconds * self._fields.units_per_second
        for start in starts:
            report.first_window = start if report.first_window is None else min(start, report.first_window)
            report.last_window = start if report.last_window is None else max(start, report.last_window)

    def _suggest(self) -> None:
        report = self._report
        reasons = [self._decoder.reason(line) for line in self._sample]
        wrong_fields = [line for line, why in zip(self._sample, reasons, strict=True) if _is_about_fields(why)]
        if len(wrong_fields) * 2 > len(self._sample):
            found = suggest(_objects(wrong_fields))
        elif report.events and (report.without_time + report.ahead) * 2 > report.events:
            found = suggest_time(_objects(self._sample))
        else:
            return
        if found is None:
            return
        changes = {name.removeprefix("TALLY_").lower(): value for name, value in found.settings.items()}
        if all(getattr(self._settings, name) == value for name, value in changes.items()):
            return
        try:
            settings = load(**{**self._settings.model_dump(), **changes})
        except SettingsError:  # what was guessed contradicts what is set
            return
        events = Decoder(settings).count([_entry(self._sample, self._now_seconds)]).events
        # What is said to be better has to be. Of other times no more lines are counted, but in better windows.
        if events >= reasons.count(None) + ("type_field" in changes):
            report.suggestion, report.suggestion_events = found, events
            report.suggestion_lines = len(self._sample)


def _entry(lines: list[bytes], now_seconds: float) -> Entry:
    return Entry(f"{int(now_seconds * 1000)}-0", b"\n".join(lines), "check")


def _hint(first_line: bytes) -> str | None:
    """Return what a file whose lines are no events may be, by the first of them that is not blank."""
    start = first_line.strip()
    if start.startswith(b"["):
        return (
            "The file looks like a JSON array; an event is an object on a line of its own. `jq -c '.[]' FILE` makes "
            "lines of it, and the http source takes it as it is"
        )
    if start == b"{":
        return "The file looks like JSON over several lines; an event is on one line. `jq -c . FILE` makes lines of it"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "The file looks like UTF-16; an event is in UTF-8. `iconv -f UTF-16 -t UTF-8 FILE` makes it that"
    return None


def _is_about_fields(reason: str | None) -> bool:
    return reason is not None and reason.startswith("not an event: ")


def _objects(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            found = msgspec.json.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield found


def _shown(line: bytes) -> str:
    text = line[: 4 * _SHOWN].decode(errors="replace")
    return printable(text[:_SHOWN]) + ("…" if len(text) > _SHOWN or len(line) > 4 * _SHOWN else "")
