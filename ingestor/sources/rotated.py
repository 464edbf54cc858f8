"""A rotated and compressed file as a source."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from pathlib import Path

from ingestor.fingerprints import Fingerprint, path_text
from ingestor.sources.base import Lookup
from ingestor.sources.files import File, Replaced
from ingestor.sources.leftovers import Leftover
from ingestor.sources.tail_names import TailName, beginning_of_names, parse_names
from ingestor.sources.tail_rules import next_generation
from tally.store import Known


class RotatedArchive:
    """A rotated and compressed file as a source: it goes on where the file was left.

    `chunks` raises Replaced if it is no longer there, and `known_as` if it turned out to be another file.
    """

    replayable = True
    finite = False
    is_bulk = True

    def __init__(self, path: Path, leftover: Leftover) -> None:
        """Make it of what was found beside `path`, from which it was rotated."""
        self._path = path
        self._sibling = leftover.sibling
        self._name = leftover.name
        self._file = File(self._sibling.path, identity=self._sibling.identity)
        self.is_another = False  # than its name says, as reading it has shown
        self.label = f"tail:{path_text(self._sibling.path)}"

    async def known_as(self, ask: Lookup, *, never: Collection[str] = ()) -> Known:
        stored = await ask(beginnings=[beginning_of_names(self._path)])
        if self._name is not None and str(self._name) in never:
            self.is_another = True
            raise Replaced
        if self._name is None:
            sibling = self._sibling
            generation = next_generation(parse_names(stored), inode=sibling.inode)
            first = Fingerprint.of(sibling.first)
            self._name = TailName(path_text(self._path), sibling.device, sibling.inode, generation, first)
        return stored.get(str(self._name), Known(str(self._name)))

    def chunks(self, position: int) -> AsyncIterator[bytes]:
        return self._file.chunks(position)
