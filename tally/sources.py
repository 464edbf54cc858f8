"""Sources as they are named: on the command line, and in TALLY_SOURCE, one or several as a JSON array."""

from __future__ import annotations

import json

from tally.runtime import Failure

#: What may be named as a source.
SOURCE_HELP = (
    "Where lines come from: `-` (standard input), a path, a folder or a pattern, `tail:PATH`, `exec:COMMAND`, "
    "`tcp://HOST:PORT`, `tls://HOST:PORT`, `unix:PATH`, `http://HOST:PORT`, `https://HOST:PORT`, "
    "`demo:` (the story of a made-up shop) or `demo:?rate=100&corrupt=0.1` (made-up lines)."
)

#: How many UTF-8 bytes a source's name may have to be counted under it: a long path has more than a word.
MAX_SOURCE_BYTES = 1024

#: Under what is counted what another client has put onto the stream without saying where it is from.
UNNAMED = "(unnamed)"

_RIGHT = 'several sources are a JSON array of texts, as in ["tail:/var/log/app.log", "demo:?rate=10"]'


def called(name: str) -> str:
    """Return what a source is called by its name in the store, which has behind a `#` which file or connection it is.

    So all connections of a listener are one source, and all files that were ever followed at a path.
    """
    return name.rpartition("#")[0] or name or UNNAMED


def split_sources(text: str) -> list[str]:
    """Return the sources that a text names: itself, or the members of a JSON array of texts.

    Raises Failure with what is wrong and what would be right.
    """
    stripped = text.lstrip()
    if not stripped.startswith("["):
        return [text]
    try:
        found = json.loads(stripped)
    except ValueError as error:
        if not stripped[1:].lstrip().startswith('"'):
            return [text]  # a pattern of files, as in [a-c]*.log
        raise Failure(f"TALLY_SOURCE={text}: not JSON: {error}; {_RIGHT}") from None
    if not found:
        raise Failure(f"TALLY_SOURCE={text}: names no source; {_RIGHT}")
    for at, each in enumerate(found, start=1):
        if not isinstance(each, str) or not each:
            raise Failure(f"TALLY_SOURCE={text}: number {at} is {json.dumps(each)}; {_RIGHT}")
    return list(found)
