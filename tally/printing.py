"""Names and lines from events, safe to print on a terminal."""

from __future__ import annotations

from rich.markup import escape


def printable(text: str) -> str:
    """The text without what a terminal would obey: control characters, marks that turn the direction of writing."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def markup(text: str) -> str:
    """The same as rich markup that shows just it and has none of its own."""
    return escape(printable(text))
