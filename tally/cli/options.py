"""Options that several commands have."""

from __future__ import annotations

SOURCE_HELP = (
    "Where lines come from: `-` (standard input), a path, a folder or a pattern, `tail:PATH`, `exec:COMMAND`, "
    "`tcp://HOST:PORT`, `tls://HOST:PORT`, `unix:PATH`, `http://HOST:PORT`, `https://HOST:PORT` or "
    "`demo:?rate=100&corrupt=0.1`."
)
