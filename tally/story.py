"""The demo's story: two days in the life of an invented shop, then live. Pure: no I/O, no clock.

The story has a clock of its own: it is counted in minutes since it began, and `PAST_MINUTES` of it are over when it is
first told. Each minute is determined by the seed and its number alone, so that the story can be told again from any
minute on, and is the same whenever it is told:

- a day has a quiet night, a busy noon and a busier evening, which is not over yet when the telling begins;
- every eight hours there is a flash sale, several times as much for half an hour, the last one three hours before;
- every three hours something breaks for a quarter of an hour and fills the log with errors;
- every hour a lamp with a name that nobody has heard before comes out, and is talked about;
- all the while some lines are garbage, as in every log.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, product
from typing import NamedTuple
from urllib.parse import parse_qsl

DAY_MINUTES = 24 * 60

#: How much of the story is over when it is first told.
PAST_MINUTES = 2 * DAY_MINUTES

#: The hour of the shop at which it begins, and so the one at which it is first told.
_FIRST_HOUR = 17.5

#: Lines a second where the day's curve is 1.
_LINES_PER_SECOND = 7.0

#: The share of lines that are garbage.
_GARBAGE_SHARE = 0.008

_GOODS = (
    "walnut desk lamp", "linen shade", "brass lantern", "paper moon lamp", "reading light", "garden lantern",
    "oak floor lamp", "string of lights", "wool blanket", "velvet cushion", "copper kettle", "stoneware mug",
    "beeswax candles", "cherry bookend", "felt slippers", "hemp rug", "glass carafe", "pine stool",
)  # fmt: skip
_PLACES = ("Porto", "Ghent", "Malmö", "Zürich", "Galway", "Turin", "Gdańsk", "Tartu", "Lyon", "Bergen", "Graz", "Split")
_FROM = ("the newsletter", "a search", "the front page", "a friend's link", "the gift guide")
_WISHES = (
    "warm light", "small lamp", "gift for a reader", "something for the garden", "dimmable", "spare shade",
    "blue rug", "candles", "lamp without cable", "wedding present", "kettle for two", "cushion cover",
)  # fmt: skip
_OPINIONS = (
    "lovely and warm", "smaller than I thought", "arrived in two days", "the cable is too short", "just as pictured",
    "my cat loves it", "a little wobbly", "well packed", "would buy again", "the colour is off",
)  # fmt: skip
_PAYING = ("card", "invoice", "transfer", "voucher")

_REGRETS = ("broken", "too late", "not as pictured")

#: What breaks, each in its turn.
_BREAKDOWNS = (
    ("payment.failed", ("gateway timeout after 3000 ms", "gateway timeout, trying again", "gateway refused, code 503")),
    ("error.500", ("search: index unreachable", "search: empty answer from the index", "search: shard 3 is missing")),
    ("stock.unknown", ("warehouse: connection reset", "warehouse: count is an hour old", "warehouse: no answer")),
)

#: What lamps that come out are called: one of each put together.
_NAME_PARTS = (
    ("Bri", "Cal", "Dor", "El", "Fen", "Hal", "Jor", "Kel", "Lum", "Mar", "Nor", "Os", "Per", "Quil", "Ro", "Sil"),
    ("a", "e", "i", "o", "u"),
    ("bel", "dra", "lin", "mira", "nova", "ra", "ston", "tess", "vane", "wick"),
)

_GARBAGE = (
    b'{"event_type":"page.viewed","data":"hemp rug, from the fro',
    b'{"event_type":"order.placed","data":"2 x stoneware mu',
    b'{"event_type":"order.placed"}',
    b'{"data":"brass lantern, from a search"}',
    b'{"event_type":"stock.counted","data":["pine stool",14]}',
    b'{"event_type":"cart.filled","data":3}',
    b'{"event_type":7,"data":"no name for this one"}',
    b"Traceback (most recent call last):",
    b'  File "/srv/shop/checkout.py", line 212, in settle',
    b"GatewayTimeout: no answer within 3000 ms",
    b"<html><head><title>502 Bad Gateway</title></head></html>",
    b"WARN  pool is exhausted, 64 of 64 in use",
    b'{"event_type":"search","data":"caf\xe9 lamp"}',
)


class _Pool(NamedTuple):
    """Lines to draw from; those of events end where the timestamp is to stand."""

    lines: Sequence[bytes]
    are_events: bool = True


class Line(NamedTuple):
    """A line, and when it is written, in seconds since its minute began."""

    seconds: float
    text: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StorySpec:
    """Which story is told, and of how many hours of its past."""

    seed: int = 1
    hours: int = PAST_MINUTES // 60

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 1 << 32:
            raise ValueError(f"demo:story?seed={self.seed}: a whole number from 0 to 4294967295")
        if not 0 <= self.hours * 60 <= PAST_MINUTES:
            raise ValueError(f"demo:story?hours={self.hours}: hours of its past, from 0 to {PAST_MINUTES // 60}")

    @classmethod
    def parse(cls, query: str) -> StorySpec:
        """Read what stands behind `demo:story`, as in `?seed=2`. Raises ValueError with what is wrong."""
        if not query.strip("?"):
            return cls()
        try:
            given = dict(parse_qsl(query.removeprefix("?"), strict_parsing=True, keep_blank_values=True))
            numbers = {name: int(text) for name, text in given.items()}
        except ValueError:
            numbers = {}
        if not query.startswith("?") or not {"seed", "hours"}.issuperset(numbers) or not numbers:
            raise ValueError(f"demo:story{query}: write it as demo:story, or demo:story?seed=2&hours=48")
        return cls(**numbers)

    @property
    def first_minute(self) -> int:
        """The number of the minute with which the telling begins."""
        return PAST_MINUTES - self.hours * 60


class Story:
    """Tells a story, a minute at a time."""

    def __init__(self, spec: StorySpec) -> None:
        self._seed = spec.seed
        self._steady = list(_steady_pools())
        in_sale = (f"flash sale: {what}, to {town}" for what, town in product(_GOODS, _PLACES))
        self._sale = _pool("order.placed", in_sale)
        self._breakdowns = [_pool(type_, texts) for type_, texts in _BREAKDOWNS]
        self._garbage = _Pool(_GARBAGE, are_events=False)

    def minute(self, number: int, *, began: int) -> list[Line]:
        """Return the lines of a minute, in their order, of a story that began at this Unix second."""
        chance = random.Random(self._seed << 32 | number)  # nosec B311 # the same story for the same seed
        pools, weights = self._pools(number)
        mean = sum(weights) * 60
        count = max(0, round(chance.gauss(mean, math.sqrt(mean))))
        drawn = chance.choices(pools, cum_weights=list(accumulate(weights)), k=count)
        first, draw = began + number * 60, chance.random
        told = []
        for seconds, (lines, are_events) in zip(sorted(draw() * 60 for _ in range(count)), drawn, strict=True):
            line = lines[int(draw() ** 2 * len(lines))]  # the first ones are the favourites
            told.append(Line(seconds, b"%b%d}\n" % (line, first + int(seconds)) if are_events else line + b"\n"))
        return told

    def _pools(self, number: int) -> tuple[list[_Pool], list[float]]:
        """Return what the lines of a minute are drawn from, and how many lines a second come from each."""
        sale = self._age(number, every=480, first=290, spread=30)
        pace = _LINES_PER_SECOND * _day_curve(number) * (2.5 if sale < 30 else 1.0)
        weighted = [(pool, pace * share) for share, pool in self._steady]
        if sale < 30:
            weighted.append((self._sale, pace * 0.4 * math.exp(-sale / 20)))
        broken = self._age(number, every=180, first=90, spread=15)
        if broken < 15:
            which = self._breakdowns[(number - broken) // 180 % len(self._breakdowns)]
            weighted.append((which, _LINES_PER_SECOND * 0.45 * min(1.0, (broken + 1) / 3)))
        out = self._age(number, every=60, first=36, spread=6)
        fame = min(1.0, (out + 1) / 8) * math.exp(-max(0, out - 8) / 25)
        for pool, share in _new_lamp_pools(_new_name(self._seed, number - out)):
            weighted.append((pool, pace * share * fame))
        weighted.append((self._garbage, sum(weight for _, weight in weighted) * _GARBAGE_SHARE))
        return [pool for pool, _ in weighted], [weight for _, weight in weighted]

    def _age(self, number: int, *, every: int, first: int, spread: int) -> int:
        """Return how many minutes ago the last began of what comes every so often, never quite on time."""
        turn = (number - first) // every
        while (began := first + turn * every + _delay(self._seed, every, turn, spread)) > number:
            turn -= 1
        return number - began


@lru_cache(maxsize=64)
def _delay(seed: int, every: int, turn: int, spread: int) -> int:
    return random.Random(f"{seed} {every} {turn}").randrange(spread)  # nosec B311


def _day_curve(number: int) -> float:
    """Return how busy the shop is in this minute: about 1 in the evening."""
    hour = (_FIRST_HOUR + number / 60) % 24

    def hump(at: float, width: float) -> float:
        distance = abs(hour - at)
        return math.exp(-((min(distance, 24 - distance) / width) ** 2) / 2)

    return 0.18 + 0.5 * hump(12.5, 3) + hump(19.5, 2.6)


@lru_cache(maxsize=64)
def _new_name(seed: int, number: int) -> str:
    """Return what the lamp is called that comes out in this minute."""
    chance = random.Random(f"{seed} lamp {number}")  # nosec B311
    return "".join(chance.choice(parts) for parts in _NAME_PARTS)


@lru_cache(maxsize=64)
def _new_lamp_pools(name: str) -> Sequence[tuple[_Pool, float]]:
    """Return what is said of a lamp that has just come out, each with its share of all that happens in the shop."""
    return (
        (_pool("page.viewed", (f"{name}, the new lamp, from {where}" for where in _FROM)), 0.05),
        (_pool("search", (name, f"{name} lamp")), 0.03),
        (_pool("waiting.list.joined", (f"{name}, to {town}" for town in _PLACES)), 0.015),
    )


def _pool(type_: str, texts: Iterable[str]) -> _Pool:
    return _Pool([f'{{"event_type":"{type_}","data":"{text}","timestamp":'.encode() for text in texts])


def _steady_pools() -> Iterable[tuple[float, _Pool]]:
    """Give what lines are drawn from at all times, each behind its share of a pace of 1."""
    goods = _GOODS
    yield 0.40, _pool("page.viewed", (f"{what}, from {where}" for what, where in product(goods, _FROM)))
    yield 0.14, _pool("search", _WISHES)
    yield 0.10, _pool("cart.filled", (f"{count} x {what}" for count, what in product((1, 1, 2, 3), goods)))
    yield 0.05, _pool("cart.left", (f"{what}, after {minutes} minutes" for minutes, what in product((4, 9, 25), goods)))
    yield 0.06, _pool("order.placed", (f"{what}, to {town}" for what, town in product(goods, _PLACES)))
    yield 0.055, _pool("order.paid", (f"{what} by {how}" for what, how in product(goods, _PAYING)))
    yield 0.045, _pool("order.shipped", (f"{what}, to {town} by post" for what, town in product(goods, _PLACES)))
    yield 0.08, _pool("login", ("with a password", "with a passkey", "from a new device"))
    yield 0.012, _pool("login.failed", ("wrong password", "unknown address", "too many tries"))
    yield 0.02, _pool("review.written", (f"{what}: {opinion}" for what, opinion in product(goods, _OPINIONS)))
    yield 0.008, _pool("stock.low", (f"{what}, {left} left" for what, left in product(goods, (1, 2, 5))))
    yield 0.006, _pool("refund.asked", (f"{what}: {why}" for what, why in product(goods, _REGRETS)))
    yield 0.010, _pool("newsletter.joined", ("from the front page", "at the checkout"))
    for type_, texts in _BREAKDOWNS:
        yield 0.002, _pool(type_, texts)
