"""The numbers of the types whose words are counted apart, of one shard."""

from __future__ import annotations

from collections.abc import Collection

from tally.store.lua import WritingScript
from tally.store.shard import ShardStore
from tally.store.tables import numbered_in
from tally.store.windows import raise_wrong_type
from tally.words_by_type import Numbers

_number_types = WritingScript("number_types")


class NumberStore(ShardStore):
    """Gives numbers to types. The method may be called again after a failure."""

    async def number_types(self, types: Collection[str]) -> Numbers:
        """Give these types a number, as long as there is room, the first ones first; return all that have one then.

        Raises StoreUnavailable.
        """
        at = self._keys
        given, *rest = await _number_types.run(
            self._redis,
            (at.types_numbers, at.types_numbered, at.types_retired),
            {"types": list(types), "most": self._settings.types_with_words.most},
            layout=self._layout.whole,
        )
        if not isinstance(given, int):
            raise_wrong_type(given, rest)
        (flat,) = rest
        # What another client has put there is no type of ours: an event's is UTF-8.
        names = (name.decode("utf-8", "replace") for name in flat[::2])
        numbered = (numbered_in(text, at) for text in flat[1::2])
        return Numbers(given, dict(zip(names, numbered, strict=True)))
