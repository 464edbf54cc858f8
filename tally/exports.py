"""What an export is: everything of a namespace as lines of JSON. Pure: no I/O, no clock.

Each line is a record, and its `is` says of which kind. They come in this order, and a reader may rely on it:

| record | holds |
| --- | --- |
| `header` | the number of this format, who wrote it and when, and the layout |
| `source` | how far a source that can be read again was counted, in each lane of each way it was ever spread |
| `once` | keys of bodies that are appended once, of one hash |
| `types` | since when types have words of their own |
| `counts` | names of one hash with their counts: newest windows first, all time last |
| `top` | the most frequent words as they were known: for readers, an import makes its own |
| `floors` | from when on windows of each length get counts |
| `sample` | a line that was rejected, or accepted |
| `dead_letter` | a block or a chunk that could not be counted |
| `totals` | how much was counted in all |
| `end` | how many lines came before, and their SHA-256 |

The five from `counts` to `dead_letter` are together, a shard after the other. Times are Unix times, in seconds unless a
name ends in `_ms`. What may be any bytes is in base64. A hash is cut into several lines, and a name is in one of them.

Whatever a reader does not know is an error: to pass over it would be to lose something in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, BinaryIO, Literal

import msgspec

from tally.export_records import (
    WORDS_OF_TYPE,
    Counts,
    DeadLetter,
    End,
    Floors,
    Header,
    Once,
    Record,
    Source,
    Totals,
    Types,
)
from tally.keys import SOURCE_TABLES, TYPES, WORDS
from tally.runtime import Failure
from tally.windows import parse_window_lengths

#: The number of the format that is written, and the only one that is read.
FORMAT = 1

#: How many names a line has at the most, and about how many bytes of them; a single longer one has a line of its own.
NAMES_IN_LINE, BYTES_IN_LINE = 1000, 64 << 10

#: How long a line may be. The longest ones are dead letters, of which a block may be one line of 64 MiB.
MOST_LINE_BYTES = 128 << 20

#: How long the first one may be: it tells early what is no export.
MOST_HEADER_BYTES = 16 << 20

_TABLES = frozenset({TYPES, WORDS, WORDS_OF_TYPE, *SOURCE_TABLES})
_ID = re.compile(r"[0-9a-f]{32}")


class NotAnExport(Failure):
    """It is no export, or not a whole one, or one that this version cannot read. The text says which and where."""


#: Which kinds may follow which: never one of a lower rank. Those of one shard together have the same.
_RANKS: Mapping[type[Any], int] = {Header: 0, Source: 1, Once: 2, Types: 3, Totals: 5, End: 6}
_RANK_OF_A_SHARD = 4

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


class _Beginning(msgspec.Struct):
    """What a first line of any format has; `kind` stands for `is`."""

    kind: Literal["header"] = msgspec.field(name="is")
    format: int
    tally: str


_decode_beginning = msgspec.json.Decoder(_Beginning).decode


class Encoder:
    """Makes the lines of an export, and its last one from them all."""

    def __init__(self) -> None:
        self._digest = sha256()
        self.records = 0

    def line(self, record: Record) -> bytes:
        """Return the next line. Raises Failure if no reader would take it."""
        line = _encode(record) + b"\n"
        if len(line) > MOST_LINE_BYTES:
            which = f" {record.id}" if isinstance(record, DeadLetter) else ""
            raise Failure(f"a {record.__struct_config__.tag}{which} is too large to be exported: {len(line):,} bytes")
        self._digest.update(line)
        self.records += 1
        return line

    def end(self) -> bytes:
        """Return the last line."""
        return _encode(End(self.records, self._digest.hexdigest())) + b"\n"


def in_lines(
    counts: Iterable[tuple[str, int]], *, names: int = NAMES_IN_LINE, most_bytes: int = BYTES_IN_LINE
) -> Iterator[dict[str, int]]:
    """Cut the names of one hash into as many as a line has, in their order."""
    some: dict[str, int] = {}
    size = 0
    for name, count in counts:
        length = len(name.encode())
        if some and (len(some) == names or size + length > most_bytes):
            yield some
            some, size = {}, 0
        some[name] = count
        size += length
    if some:
        yield some


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file. Raises NotAnExport at one that is too long."""
    number, most = 1, MOST_HEADER_BYTES
    while line := file.readline(most + 1):
        if len(line) > most:
            raise NotAnExport(f"line {number}: it does not end within {most:,} bytes")
        yield line
        number, most = number + 1, MOST_LINE_BYTES


def records_of(lines: Iterable[bytes]) -> Iterator[Record]:
    """Yield the records of an export, the header first; the end is checked and left out.

    Raises NotAnExport at the first line that is not as it should be, and at the end if something is missing or was
    changed. So an export is whole only when this has come to its end.
    """
    digest = sha256()
    checks: _Checks | None = None
    number = 0
    end: End | None = None
    for number, line in enumerate(lines, start=1):
        if end is not None:
            raise NotAnExport(f"line {number}: something follows the end of the export")
        if not line.endswith(b"\n"):
            raise NotAnExport(f"line {number}: it is cut off. Get the whole file and run this again")
        try:
            if checks is None:
                checks = _Checks.of(line)
            record = _decode(line)
            checks.check(record)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
            written_by = f", which Tally {checks.header.tally} wrote," if checks else ""
            raise NotAnExport(f"line {number}{written_by} is no record that this version knows: {error}") from None
        if isinstance(record, End):
            end = record
            continue
        digest.update(line)
        yield record
    if end is None:
        raise NotAnExport(
            f"its end is missing after {number:,} lines. Get the whole file and run this again"
            if number
            else "it is empty"
        )
    if (end.records, end.sha256) != (number - 1, digest.hexdigest()):
        raise NotAnExport("it was changed after it was written: its SHA-256 is not the one in its last line")


class _Checks:
    """What must be so of a record by those before it."""

    def __init__(self, header: Header) -> None:
        self.header = header
        if _ID.fullmatch(header.id) is None:
            raise ValueError("`id` is not 32 hexadecimal digits")
        if (header.shards > 1) != (header.stripe_bytes is not None):
            raise ValueError("`stripe_bytes` is there if and only if there are several shards")
        windows = header.layout.get("windows")  # which an ingestor alone does not store
        self._lengths = {length.seconds for length in parse_window_lengths(windows)} if windows else set()
        self._rank = -1
        self._shard = 0

    @classmethod
    def of(cls, line: bytes) -> _Checks:
        """Return them for an export that begins so. Raises NotAnExport where it is none of this format."""
        try:
            found = _decode_beginning(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise NotAnExport("it is no export of Tally: its first line is not a header") from None
        if found.format != FORMAT:
            raise NotAnExport(
                f"it is an export of format {found.format}, written by Tally {found.tally[:40]}; this version knows "
                f"format {FORMAT}: use the Tally that wrote it, or a newer one"
            )
        header = _decode(line)
        assert isinstance(header, Header)  # its tag is that
        return cls(header)

    def check(self, record: Record) -> None:
        """Raise ValueError if something is not as it should be."""
        rank = _RANKS.get(type(record), _RANK_OF_A_SHARD)
        if rank < self._rank or (rank == self._rank == 0):
            raise ValueError(f"a {record.__struct_config__.tag} may not stand here")
        shard = getattr(record, "shard", 0)
        if rank != self._rank:
            self._rank, self._shard = rank, 0
        if not self._shard <= shard < self.header.shards:
            raise ValueError(f"shard {shard} may not stand here")
        self._shard = shard
        if isinstance(record, Counts):
            self._check_counts(record)
        elif isinstance(record, Floors) and not self._lengths.issuperset(record.starts):
            raise ValueError("a floor of a length that the layout does not have")
        elif isinstance(record, Source):
            self._check_source(record)

    def _check_counts(self, record: Counts) -> None:
        if record.table not in _TABLES or (record.table == WORDS_OF_TYPE) != (record.of_type is not None):
            raise ValueError(f"no table is called {record.table!r}")
        if record.length:
            if record.table in SOURCE_TABLES or record.length not in self._lengths or record.start % record.length:
                raise ValueError(f"no window of {record.table} is {record.length}:{record.start}")
        elif record.start:
            raise ValueError("all time begins at 0")

    def _check_source(self, record: Source) -> None:
        for vector in record.vectors:
            if len(vector.lanes) != vector.shards or (vector.shards > 1) != (vector.stripe_bytes is not None):
                raise ValueError("a vector has a lane a shard, and `stripe_bytes` if there are several")
        first = next(iter(record.vectors), None)
        if first is None or (first.shards, first.stripe_bytes) != (self.header.shards, self.header.stripe_bytes):
            raise ValueError("the first vector of a source is not that of the present shards")
