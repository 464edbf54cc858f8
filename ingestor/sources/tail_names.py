"""The names of followed files in the store, where their positions are kept. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ingestor.fingerprints import Fingerprint, path_text


@dataclass(frozen=True, slots=True)
class TailName:
    """The name of a followed file: the path at which it was followed, and what it is.

    `generation` goes up when the same inode holds something else: its position would be of no use then.
    """

    path: str
    device: int
    inode: int
    generation: int
    fingerprint: Fingerprint

    @classmethod
    def parse(cls, name: str) -> TailName | None:
        """Read a stored name; None if it is another kind of source's."""
        path, hash_, rest = name.removeprefix("tail:").rpartition("#")
        parts = rest.split("-")
        if not name.startswith("tail:") or not hash_ or len(parts) != 5:
            return None
        try:
            device, inode, generation, length = int(parts[0], 16), int(parts[1], 16), int(parts[2]), int(parts[3])
        except ValueError:
            return None
        return cls(path, device, inode, generation, Fingerprint(length, parts[4]))

    def __str__(self) -> str:
        return f"tail:{self.path}#{self.device:x}-{self.inode:x}-{self.generation}-{self.fingerprint}"


def parse_names(stored: Iterable[str]) -> list[TailName]:
    """Return those of the stored names that are of followed files."""
    return [name for each in stored if (name := TailName.parse(each)) is not None]


def beginning_of_names(path: Path) -> str:
    """Return how the names of all files begin that were followed at a path."""
    return f"tail:{path_text(path)}#"
