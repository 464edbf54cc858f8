"""The report of `tally check` as people read it."""

from __future__ import annotations

from datetime import UTC, datetime

from tally.cli.report import Rejection, Report
from tally.cli.suggest import Suggestion
from tally.printing import printable


def describe(report: Report) -> str:
    """Return the report as people read it, safe to print."""
    lines = "1 line" if report.lines == 1 else f"{report.lines:,} lines"
    blank = f", {report.blank:,} blank" if report.blank else ""
    parts = [f"{lines}: {report.events:,} would be counted, {report.rejected:,} rejected{blank}"]
    if report.padded:
        parts[0] += f"\nNULs or byte order marks in front of {report.padded:,} of them are passed over"
    if report.hint is not None:
        parts.append(report.hint)
    if report.rejections:
        parts.append("Rejected\n" + "\n".join(map(_describe_rejection, report.rejections)))
    if report.events:
        parts.append(_table("Event types", report.top_types))
        parts.append(_table(f"Words, {report.words:,} in all", report.top_words))
        parts.append(_describe_times(report))
    if report.suggestion is not None:
        parts.append(_describe_suggestion(report.suggestion, report))
    return "\n\n".join(parts)


def _describe_rejection(rejection: Rejection) -> str:
    numbers = ", ".join(map(str, rejection.lines)) + (", …" if rejection.count > len(rejection.lines) else "")
    return (
        f"  {rejection.count:,} x {printable(rejection.reason)}\n"
        f"      line{'s' if rejection.count > 1 else ''} {numbers}; the first: {rejection.example}"
    )


def _table(title: str, counts: dict[str, int]) -> str:
    rows = [f"  {count:>10,}  {printable(name)}" for name, count in counts.items()]
    return "\n".join([title, *(rows or ["  none"])])


def _describe_times(report: Report) -> str:
    assert report.first_window is not None
    assert report.last_window is not None
    first, last = _moment(report.first_window), _moment(report.last_window)
    lines = [f"Windows from {first} to {last}" if first != last else f"Window of {first}"]
    if report.without_time:
        lines.append(f"  Without a time, and so counted at their arrival: {report.without_time:,}")
    if report.ahead:
        lines.append(
            f"  Over an hour ahead, and so counted at their arrival: {report.ahead:,}; is TALLY_TIME_UNIT right?"
        )
    return "\n".join(lines)


def _moment(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s since 1970"


def _describe_suggestion(found: Suggestion, report: Report) -> str:
    lines = [
        f"With these settings {report.suggestion_events:,} of the first {report.suggestion_lines:,} lines would be "
        "counted; paste them into .env:\n",
        *(f"{name}={value}" for name, value in found.settings.items()),
    ]
    others = [f"  {name}: {', '.join(paths)}" for name, paths in found.others.items() if paths]
    return "\n".join(lines + (["\nOther fields that might do:", *others] if others else []))
