"""What every source is to the feed that reads it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterable
from typing import Protocol

#: How much is asked of a file or a pipe at once.
CHUNK_BYTES = 1 << 20


class Source(Protocol):
    """What a feed reads. `chunks` may be called again, with another position, if the source is rereadable."""

    @property
    def label(self) -> str:
        """What people call it, as in TALLY_SOURCE."""

    @property
    def rereadable(self) -> bool: ...

    def name(self, stored: Iterable[str]) -> str:
        """Its name in the store, given the names that are stored. Another one each time if it isn't rereadable."""

    def chunks(self, position: int) -> AsyncIterator[bytes]:
        """The bytes from this position on. Raises Failure when they cannot be read."""


class Once:
    """What the sources that cannot be read again have in common: a name of their own each time."""

    rereadable = False
    label: str

    def name(self, stored: Iterable[str]) -> str:  # noqa: ARG002
        return f"{self.label.partition('?')[0]}#{uuid.uuid4().hex[:12]}"
