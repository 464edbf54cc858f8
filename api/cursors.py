"""Cursors: each leads to a place in a list that is held as it was, so that its pages neither repeat nor skip.

A list is held within TALLY_MAX_SNAPSHOT_BYTES, for a minute after it was last used, and less long if there is no room
for what others ask. What is counted meanwhile is not in it: its rankings are never changed. A cursor is opaque to
clients, but not secret: whoever may ask for a list may go on with it.
"""

from __future__ import annotations

import asyncio
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter, OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from api.filters import Narrowed
from api.listing import Listing, Whole
from api.memory import Memory
from api.params import MOST_ITEMS
from api.ranking import Ranking
from tally.clock import SYSTEM, Clock
from tally.keys import Kind

#: For how long a list is held after it was last used.
HELD_SECONDS = 60.0

#: Which part of the memory for rankings is held for cursors at the most: the rest is for what is asked meanwhile.
HELD_SHARE = 0.5

#: What a held list takes besides its names and its question.
HELD_BYTES = 4000

_CHECK_BYTES = 4

#: What was asked for besides a place and a form: the values of each parameter, as they came.
Question = Mapping[str, tuple[str, ...]]


class BadCursor(ValueError):
    """It is no cursor that was ever given."""


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a cursor leads: to the item `first` of the held list with this number, of a process with this life."""

    life: bytes
    number: int
    kind: Kind
    first: int
    limit: int

    def cursor(self) -> str:
        """Return it as text."""
        packed = msgspec.msgpack.encode(self)
        return urlsafe_b64encode(packed + _check(packed)).decode().rstrip("=")

    @classmethod
    def of(cls, cursor: str) -> Place:
        """Return where it leads. Raises BadCursor."""
        try:
            found = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            packed, check = found[:-_CHECK_BYTES], found[-_CHECK_BYTES:]
            if check != _check(packed):
                raise BadCursor
            place = msgspec.msgpack.decode(packed, type=cls)
        except (ValueError, msgspec.DecodeError):
            raise BadCursor from None
        if place.first < 0 or not 1 <= place.limit <= MOST_ITEMS:
            raise BadCursor
        return place


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Held:
    """A list that is held: all of it in order, as it was asked for, without the shards that are missing."""

    number: int
    narrow: Narrowed
    question: Question
    whole: Whole
    missing: tuple[int, ...]


@dataclass(slots=True)
class _Kept:
    held: Held
    asked: Hashable
    used_at: float = 0.0  # monotonic seconds


class Cursors:
    """Holds lists."""

    def __init__(self, *, memory: Memory, clock: Clock = SYSTEM) -> None:
        self.life = secrets.token_bytes(6)
        self._memory = memory
        self._clock = clock
        self._kept: OrderedDict[int, _Kept] = OrderedDict()  # what was used last stands last
        self._latest: dict[Hashable, int] = {}  # the number of the list that was asked for so
        self._uses: Counter[Ranking] = Counter()  # in how many lists each is
        self._bytes = 0
        self._given = 0
        self._forgetting: asyncio.TimerHandle | None = None
        memory.when_full(self._drop)

    def __len__(self) -> int:
        return len(self._kept)

    def hold(self, narrow: Narrowed, question: Question, whole: Whole, *, missing: tuple[int, ...]) -> Held:
        """Hold a list; one that was asked for in the same way, and is made of the same, is the same."""
        asked = (narrow, missing, tuple(sorted(question.items())))
        latest = self._kept.get(self._latest.get(asked, 0))
        if latest is not None and _rankings(latest.held.whole.listing) == _rankings(whole.listing):
            self._use(latest)
            return latest.held
        self._given += 1
        held = Held(self._given, narrow, question, whole, missing)
        self._memory.hold(held, _question_bytes(question))
        self._add(_Kept(held, asked))
        while self._bytes > HELD_SHARE * self._memory.most_bytes and len(self._kept) > 1:
            self._drop()
        return held

    def find(self, place: Place) -> Held | None:
        """Return the list that a cursor leads to; None if it is no longer held here."""
        self.forget()
        kept = self._kept.get(place.number) if place.life == self.life else None
        if kept is None:
            return None
        self._use(kept)
        return kept.held

    def forget(self) -> None:
        """Forget what was not used for a while."""
        while self._kept and self._seconds_left() <= 0:
            self._drop()
        if self._kept and self._forgetting is None:
            loop = asyncio.get_running_loop()
            self._forgetting = loop.call_later(max(1.0, self._seconds_left()), self._forget_and_wait)

    def close(self) -> None:
        """Forget everything."""
        while self._drop():
            pass
        if self._forgetting is not None:
            self._forgetting.cancel()

    def _forget_and_wait(self) -> None:
        self._forgetting = None
        self.forget()

    def _seconds_left(self) -> float:
        return next(iter(self._kept.values())).used_at + HELD_SECONDS - self._clock.monotonic()

    def _use(self, kept: _Kept) -> None:
        kept.used_at = self._clock.monotonic()
        self._kept.move_to_end(kept.held.number)
        self.forget()

    def _add(self, kept: _Kept) -> None:
        self._kept[kept.held.number] = kept
        self._latest[kept.asked] = kept.held.number
        self._bytes += _own_bytes(kept.held)
        for ranking in _rankings(kept.held.whole.listing):
            self._uses[ranking] += 1
            self._bytes += ranking.size_bytes if self._uses[ranking] == 1 else 0
        self._use(kept)

    def _drop(self) -> bool:
        """Forget the list that was used least lately."""
        if not self._kept:
            return False
        number, kept = self._kept.popitem(last=False)
        if self._latest.get(kept.asked) == number:
            del self._latest[kept.asked]
        self._bytes -= _own_bytes(kept.held)
        for ranking in _rankings(kept.held.whole.listing):
            self._uses[ranking] -= 1
            if not self._uses[ranking]:
                self._bytes -= ranking.size_bytes
                del self._uses[ranking]
        return True


def _check(packed: bytes) -> bytes:
    """Return by what a cursor is known that was cut or changed on its way. It is none against who means to."""
    return blake2b(packed, digest_size=_CHECK_BYTES).digest()


def _own_bytes(held: Held) -> int:
    changes = held.whole.listing.changes
    return _question_bytes(held.question) + held.whole.own_bytes + (0 if changes is None else changes.size_bytes)


def _question_bytes(question: Question) -> int:
    return HELD_BYTES + 4 * sum(len(name) + sum(map(len, values)) for name, values in question.items())


def _rankings(listing: Listing) -> frozenset[Ranking]:
    """Return those that a list is made of, but for what is made of these; each is equal to itself alone."""
    return frozenset((listing.found, *(listing.compared.ranges if listing.compared is not None else ())))
