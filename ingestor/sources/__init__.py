"""Sources: where lines come from. Each gives chunks of bytes, in order, as they come.

A source that can be read again has a name that is the same after a restart, and starts at any position. One that
cannot (a pipe, a program, the generator) has a name of its own each time, and starts at 0.
"""

from __future__ import annotations

from pathlib import Path

from ingestor.sources.base import CHUNK_BYTES, Source
from ingestor.sources.demo import Demo
from ingestor.sources.files import File
from ingestor.sources.pipes import Command, StandardInput
from tally.generator import GeneratorSpec

__all__ = ["CHUNK_BYTES", "Command", "Demo", "File", "Source", "StandardInput", "parse_source"]


def parse_source(text: str) -> Source:
    """Make a source of its text form. Raises ValueError with what is wrong and what would be right."""
    kind, colon, rest = text.partition(":")
    if text == "-":
        return StandardInput()
    if kind == "exec" and colon:
        if not rest.strip():
            raise ValueError("exec: needs a command, as in exec:journalctl -f -o json")
        return Command(rest)
    if kind == "demo" and colon:
        return Demo(GeneratorSpec.parse(rest))
    if kind in ("tcp", "http", "tail", "unix") and colon:
        raise ValueError(f"{text!r}: {kind}: sources are not supported yet; use -, a path, exec:COMMAND or demo:")
    if not text:
        raise ValueError("a source is -, a path, exec:COMMAND or demo:?rate=100")
    path = Path(text)
    if path.is_dir():
        raise ValueError(f"{text!r} is a folder; name a file in it")
    if not path.exists():
        raise ValueError(f"there is no file {text!r}")
    return File(path)
