"""Where the counts of a chunk go: the keys of the hashes that its targets name."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tally.keys import SOURCE_TABLES, TYPES, WORDS, Keys, Table, all_time_key, number_of, window_key
from tally.store.client import StoreUnavailable
from tally.windows import WindowLength

#: What the names of the tables begin with of which there is one a type that has a number.
WORDS_OF_A_TYPE = "words@"


class _Target(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Of a part of a chunk its table and its places, as (level, start); if it is that of a type's words, that type."""

    table: str
    places: list[tuple[int, int]]
    of_type: str | None = None


_decode = msgspec.json.Decoder(list[_Target]).decode


def hashes_of(targets: bytes, keys: Keys, lengths: Sequence[WindowLength]) -> list[str] | None:
    """Return the keys of what a chunk may be added to, as apply.lua takes them; None if it cannot be read.

    Raises StoreUnavailable for a table that only another version knows.
    """
    try:
        parts = _decode(targets)
    except msgspec.DecodeError:
        return None
    found: list[str] = []
    for part in parts:
        table = _known(part.table)
        if table is None or (part.of_type is None) != (number_of(table) is None):
            return None
        for level, start in part.places:
            if level and table in SOURCE_TABLES:
                return None
            if level == 0:
                found.append(all_time_key(keys, table))
                continue
            if not 1 <= level <= len(lengths):
                return None
            is_copy = level == 1 and len(lengths) > 1
            found += (
                window_key(keys, table, length.seconds, length.start_of(start))
                for length in lengths[level - 1 : level if is_copy else None]
            )
    return found


def _known(table: str) -> Table | None:
    """Return a table that a chunk names; None if there is none of this name."""
    if table in (TYPES, WORDS, *SOURCE_TABLES) or number_of(table) is not None:
        return Table(table)
    if table.startswith(WORDS_OF_A_TYPE):
        return None
    raise StoreUnavailable(f"a newer Tally counts {table[:50]!r}, which this version cannot apply")
