"""Names and lines from events, safe to print on a terminal."""

from __future__ import annotations

from rich.markup import escape


def printable(text: str) -> str:
    """The text as rich markup that shows just it: no markup of its own, no control characters."""
    return escape("".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text))
