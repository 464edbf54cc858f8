"""Sources: where lines come from. Each gives chunks of bytes, in order, as they come.

A source that can be read again has a name that is the same after a restart, and starts at any position. One that
cannot (a pipe, a program, the generator) has a name of its own each time, and starts at 0. A runner is a source
that is more than one run of bytes, as connections are: it appends by itself.
"""

from __future__ import annotations

import glob
import shlex
import sys
from pathlib import Path

from ingestor.sources.base import CHUNK_BYTES, Context, Runner, Source, source_backoff
from ingestor.sources.demo import Demo
from ingestor.sources.files import File
from ingestor.sources.pipes import Command, StandardInput
from ingestor.sources.story import DemoStory
from tally.generator import GeneratorSpec
from tally.story import StorySpec

__all__ = [
    "CHUNK_BYTES",
    "Command",
    "Context",
    "Demo",
    "DemoStory",
    "File",
    "Runner",
    "Source",
    "StandardInput",
    "never_ends",
    "parse_source",
    "source_backoff",
]


def parse_source(text: str) -> Source | Runner:
    """Make a source of its text form. Raises ValueError with what is wrong and what would be right."""
    kind, colon, rest = text.partition(":")
    if text == "-":
        if sys.stdin is None:
            raise ValueError("-: standard input is closed")
        return StandardInput()
    if kind == "exec" and colon:
        if not rest.strip():
            raise ValueError("exec: needs a command, as in exec:journalctl -f -o json")
        return Command(rest)
    if kind == "demo" and colon:
        if not rest or rest.startswith("story"):
            return DemoStory(StorySpec.parse(rest.removeprefix("story")))
        return Demo(GeneratorSpec.parse(rest))
    if kind == "tail" and colon:
        from ingestor.sources.tail import parse_tail

        return parse_tail(rest)
    # What they import takes longer than reading a file does, so only those who listen pay for it.
    if kind in ("tcp", "tls", "unix") and colon:
        from ingestor.sources.sockets import parse_socket

        return parse_socket(text)
    if kind in ("http", "https") and colon:
        from ingestor.sources.http import parse_http

        return parse_http(text)
    if not text:
        raise ValueError(
            "a source is -, a path, a folder, a pattern, tail:PATH, exec:COMMAND, tcp://HOST:PORT, tls://HOST:PORT, "
            "unix:PATH, http://HOST:PORT, https://HOST:PORT, demo: or demo:?rate=100"
        )
    path = Path(text)
    if path.is_dir() or (glob.has_magic(text) and not path.exists()):
        from ingestor.sources.folders import Files

        return Files(text)
    if not path.exists():
        what = "kind of source or file" if "://" in text else "file"
        raise ValueError(f"{text!r}: there is no such {what}")
    if not path.is_file():
        # What it gives comes once, and opening it may wait for ever.
        kind = "a pipe" if path.is_fifo() else "a socket" if path.is_socket() else "a device"
        raise ValueError(
            f"{text!r} is {kind} and no file: use - and pipe its lines in, or exec: with a command that gives them, as "
            f"in 'exec:cat {shlex.quote(text)}'"
        )
    return File(path)


def never_ends(source: Source | Runner) -> bool:
    """Return whether it is known to go on for ever. Of a program that is not known."""
    from ingestor.sources.folders import Files

    if isinstance(source, Demo):
        return source.endless
    return isinstance(source, DemoStory) or (isinstance(source, Runner) and not isinstance(source, Files))
