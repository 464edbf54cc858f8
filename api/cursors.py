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

#: And which part for those of which only a first page was asked for.
OFFERED_SHARE = 0.125

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


class _Pool:
    """Lists that are held, `most_bytes` together but for the one that came last. What was used last stands last."""

    def __init__(self, most_bytes: float) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._latest: dict[Hashable, int] = {}  # the number of the list that was asked for so
        self._uses: Counter[Ranking] = Counter()  # in how many lists each is
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def latest(self, asked: Hashable) -> _Kept | None:
        """Return the last list that was asked for in this way."""
        return self._kept.get(self._latest.get(asked, 0))

    def get(self, number: int) -> _Kept | None:
        """Return the list with this number."""
        return self._kept.get(number)

    def use(self, kept: _Kept, *, at: float) -> None:
        """Note that a list was used."""
        kept.used_at = at
        self._kept.move_to_end(kept.held.number)

    def add(self, kept: _Kept, *, at: float) -> None:
        """Hold one more; the others go that were used least lately, as far as there is no room for them."""
        self._kept[kept.held.number] = kept
        self._latest[kept.asked] = kept.held.number
        self._bytes += _own_bytes(kept.held)
        for ranking in _rankings(kept.held.whole.listing):
            self._uses[ranking] += 1
            self._bytes += ranking.size_bytes if self._uses[ranking] == 1 else 0
        self.use(kept, at=at)
        while self._bytes > self._most_bytes and len(self._kept) > 1:
            self.drop()

    def unused_since(self) -> float | None:
        """Return when the list was used that was used least lately; None if there is none."""
        return next((kept.used_at for kept in self._kept.values()), None)

    def drop(self, number: int | None = None) -> bool:
        """Hold this list no longer, or the one that was used least lately. Returns False if there is none."""
        if not self._kept:
            return False
        number = next(iter(self._kept)) if number is None else number
        kept = self._kept.pop(number)
        if self._latest.get(kept.asked) == number:
            del self._latest[kept.asked]
        self._bytes -= _own_bytes(kept.held)
        for ranking in _rankings(kept.held.whole.listing):
            self._uses[ranking] -= 1
            if not self._uses[ranking]:
                self._bytes -= ranking.size_bytes
                del self._uses[ranking]
        return True


class Cursors:
    """Holds lists: those that somebody reads on, and for a while those of which somebody has had a first page.

    Who asks for a first page may want the next one, but most do not: a page that looks every second would push out what
    others read. So these have a small part of the memory, and give way first.
    """

    def __init__(self, *, memory: Memory, clock: Clock = SYSTEM) -> None:
        self.life = secrets.token_bytes(6)
        self._memory = memory
        self._clock = clock
        self._begun = _Pool(HELD_SHARE * memory.most_bytes)
        self._offered = _Pool(OFFERED_SHARE * memory.most_bytes)
        self._given = 0
        self._forgetting: asyncio.TimerHandle | None = None
        memory.when_full(self._drop)

    def __len__(self) -> int:
        return len(self._begun) + len(self._offered)

    def hold(
        self, narrow: Narrowed, question: Question, whole: Whole, *, missing: tuple[int, ...], begun: bool = True
    ) -> Held:
        """Hold a list; one that was asked for in the same way, and is made of the same, is the same.

        Unless it is `begun`, only its first page was asked for.
        """
        asked = (narrow, missing, tuple(sorted(question.items())))
        for pool in (self._begun, self._offered):
            latest = pool.latest(asked)
            if latest is not None and _rankings(latest.held.whole.listing) == _rankings(whole.listing):
                self._use(pool, latest, begun=begun)
                return latest.held
        self._given += 1
        held = Held(self._given, narrow, question, whole, missing)
        self._memory.hold(held, _question_bytes(question))
        pool = self._begun if begun else self._offered
        pool.add(_Kept(held, asked), at=self._clock.monotonic())
        self.forget()
        return held

    def find(self, place: Place) -> Held | None:
        """Return the list that a cursor leads to; None if it is no longer held here."""
        self.forget()
        if place.life != self.life:
            return None
        for pool in (self._begun, self._offered):
            if (kept := pool.get(place.number)) is not None:
                self._use(pool, kept, begun=True)
                return kept.held
        return None

    def forget(self) -> None:
        """Forget what was not used for a while."""
        for pool in (self._begun, self._offered):
            while (at := pool.unused_since()) is not None and self._seconds_left(at) <= 0:
                pool.drop()
        times = [at for pool in (self._begun, self._offered) if (at := pool.unused_since()) is not None]
        if times and self._forgetting is None:
            loop = asyncio.get_running_loop()
            self._forgetting = loop.call_later(max(1.0, self._seconds_left(min(times))), self._forget_and_wait)

    def close(self) -> None:
        """Forget everything."""
        while self._drop():
            pass
        if self._forgetting is not None:
            self._forgetting.cancel()

    def _forget_and_wait(self) -> None:
        self._forgetting = None
        self.forget()

    def _seconds_left(self, used_at: float) -> float:
        return used_at + HELD_SECONDS - self._clock.monotonic()

    def _use(self, pool: _Pool, kept: _Kept, *, begun: bool) -> None:
        now = self._clock.monotonic()
        if begun and pool is self._offered:
            pool.drop(kept.held.number)
            self._begun.add(kept, at=now)
        else:
            pool.use(kept, at=now)
        self.forget()

    def _drop(self) -> bool:
        """Forget the list that was used least lately, but first those that nobody has gone on with."""
        return self._offered.drop() or self._begun.drop()


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
