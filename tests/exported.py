"""An export as an import reads it, and imports of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tally.export_records import Record
from tally.exports import Encoder, records_of
from tally.imports import planned
from tally.store.importing import import_export
from tests.sharded import Sharded


class Export:
    """Lines that hold these records, or those of a file."""

    def __init__(self, records: Sequence[Record], *, lines: Sequence[bytes] = ()) -> None:
        encoder = Encoder()
        self._lines = [*lines] or [*map(encoder.line, records), encoder.end()]
        self.plan = planned(records_of(self._lines))

    @contextmanager
    def opened(self) -> Iterator[Iterator[Record]]:
        yield records_of(self._lines)

    async def into(self, there: Sharded, *, adds: bool = False) -> None:
        """Import it."""
        await import_export(there.over, there.settings, self.plan, self.opened, adds=adds)
