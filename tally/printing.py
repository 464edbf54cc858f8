"""Names and lines from events, safe to print on a terminal."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


def printable(text: str) -> str:
    """Return the text without what a terminal would obey: control characters, and marks of the direction of writing."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def encodable(text: str) -> str:
    r"""Return the text as standard output can show it: `\u65e5` for a character that its encoding lacks.

    Made before a table is laid out, which would be torn apart otherwise.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def markup(text: str) -> str:
    """Return the text as rich markup that shows just it and has none of its own."""
    from rich.markup import escape  # only now: the services need `printable` alone

    return escape(encodable(printable(text)))


def let_output_lack_characters() -> None:
    """Print a question mark for what standard output cannot show, rather than end with an error.

    Our own dashes and dots, that is, in a locale that is not UTF-8; `encodable` is for what somebody wants to read.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def shows_colours(stream: TextIO) -> bool:
    """Return whether a stream is a terminal with colours, and they are wanted, as rich decides it for tables."""
    known = os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    return stream.isatty() and known and not os.environ.get("NO_COLOR")
