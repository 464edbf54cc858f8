"""Windows that their length no longer reaches: folded into longer ones, or dropped, a slice a call of Redis."""

from __future__ import annotations

from collections import deque

from aggregator.metrics import FOLDED_NAMES
from tally.store.protocols import FoldingStore
from tally.store.windows import FOLD_FROM_START


class Folding:
    """Keeps the windows of one shard in bounds. Any number of aggregators may do this at once."""

    def __init__(self, store: FoldingStore) -> None:
        self._store = store
        self._folds: deque[tuple[int, int]] = deque()  # level and start
        self._drops: deque[tuple[int, tuple[int, ...]]] = deque()  # level and some starts
        self._cursor = FOLD_FROM_START
        #: Whether there may be something to do.
        self.overdue = True

    async def step(self) -> None:
        """Do one slice of what there is to do, or look for it. Raises StoreUnavailable."""
        if self._drops:
            level, starts = self._drops[0]
            if await self._store.drop(level=level, starts=starts) is None:
                self._wait_until_asked()
                return
            self._drops.popleft()
        elif self._folds:
            level, start = self._folds[0]
            word, self._cursor, moved = await self._store.fold(level=level, start=start, cursor=self._cursor)
            if word == "held":
                self._wait_until_asked()
                return
            FOLDED_NAMES.inc(moved)
            if word != "more":
                self._folds.popleft()
                self._cursor = FOLD_FROM_START
        else:
            found, at_once = await self._store.overdue(), self._store.windows_at_once
            self._folds.extend(found.folds)
            for level, starts in found.drops.items():
                self._drops.extend((level, starts[first : first + at_once]) for first in range(0, len(starts), at_once))
            self.overdue = bool(self._folds or self._drops)
            if not self.overdue and found.retired is not None:
                await self._store.delete_retired(found.retired)
                self.overdue = True

    def _wait_until_asked(self) -> None:
        """Leave windows as they are until it is looked for some again: somebody reads all of them, or changes them."""
        self.forget()
        self.overdue = False

    def forget(self) -> None:
        """Look anew the next time: after a failure there may be other windows."""
        self._folds.clear()
        self._drops.clear()
        self._cursor = FOLD_FROM_START
        self.overdue = True
