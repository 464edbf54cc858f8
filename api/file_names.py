"""The names under which tables are saved: what they are of, and of when."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

#: Characters of a name that is not ours, and how many such names there are at the most.
_MOST_CHARACTERS, _MOST_NAMES = 40, 3

#: From 1970 to the end of 9999: other times are written in Unix seconds.
_WRITTEN = range(253_402_300_800)


def file_name(
    what: str, *, start: float | None = None, end: float | None = None, as_of: float, of: Sequence[str] = ()
) -> str:
    """Return a name without its ending, which says of when the table is: [start, end), or all time until `as_of`.

    `of` are names from events. Whatever they are, the name has only letters, digits, dots, minuses and underscores, so
    that it is one on any system and needs no escape in a header.
    """
    parts = ["tally", what, *(_harmless(name) for name in of[:_MOST_NAMES])]
    parts += ["until", _written(as_of)] if start is None or end is None else [_written(start), _written(end)]
    return "-".join(parts)


def attachment(name: str, ending: str) -> dict[str, str]:
    """Return the header (RFC 6266) by which a client saves an answer under this name."""
    return {"Content-Disposition": f'attachment; filename="{name}.{ending}"'}


def _written(at: float) -> str:
    """Return a moment as ISO 8601 in its basic format, because a colon may not stand in a name on all systems."""
    return f"{datetime.fromtimestamp(int(at), UTC):%Y%m%dT%H%M%SZ}" if int(at) in _WRITTEN else str(int(at))


def _harmless(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name[:_MOST_CHARACTERS]).strip(".-") or "_"
