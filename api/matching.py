"""Which of the names of a ranking are asked for. Pure: no I/O, but the clock of processor time.

A million names are gone over in steps, as ranking.py says. Beginnings and parts are compared without regard to case, as
Unicode folds it: `straße` begins with `STRASS`.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import re2

from api.sorting import STEP_NAMES
from tally.web.problem_types import WrongParameters

#: What a regular expression may take of memory, compiled and at work. It bounds how long one name can take, too: some
#: tens of milliseconds, if that has kibibytes, during which other threads run.
PATTERN_BYTES = 262_144

#: Processor time that it may take over all names, looked at after so many: a million take two or three seconds.
PATTERN_SECONDS = 10.0
PATTERN_STEP_NAMES = 256

#: Among fewer names than these each is looked at.
FEW_NAMES = 64

#: No character from here on has case.
_CASELESS = 0x20000


@dataclass(frozen=True, slots=True)
class NameFilter:
    """What names must be, to be listed: all of it. What is empty says nothing.

    `prefix` is how they begin, `contains` what they have in them, `pattern` what is found in them with RE2;
    `excluded` are names that are left out, in UTF-8.
    """

    prefix: str = ""
    contains: str = ""
    pattern: str = ""
    excluded: frozenset[bytes] = frozenset()

    def effort(self, names: int) -> int:
        """Return how many names it is as good as going over, to go over so many of them.

        Each may take a regular expression as long as a thousand take otherwise.
        """
        return names * 1000 if self.pattern else names


def compiled(pattern: str) -> Any:
    """Return a regular expression of RE2, which takes time by the length of a name alone. Raises ValueError."""
    options = re2.Options()
    options.max_mem, options.log_errors, options.never_capture = PATTERN_BYTES, False, True
    try:
        return re2.compile(pattern.encode("utf-8", "replace"), options)
    except re2.error as error:
        (said,) = error.args
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ValueError(f"it is no regular expression of RE2, which has no look-arounds, for one: {text}") from None
    finally:
        re2.purge()  # it would keep a hundred of them


def matching(text: bytes, starts: Sequence[int], wanted: NameFilter, *, step: Callable[[], None]) -> Sequence[int]:
    """Return the numbers of the names that pass, in their order.

    The names stand in `text` in the order of their bytes, each from one of `starts` to the next. Raises WrongParameters
    for a regular expression that takes too long, and what `step` raises.
    """
    names = _Names(text, starts, step)
    ranges = names.beginning_with(wanted.prefix.casefold()) if wanted.prefix else [range(len(names))]
    found = names.containing(ranges, wanted.contains.casefold()) if wanted.contains else names.joined(ranges)
    if wanted.pattern:
        found = names.matching(found, wanted.pattern)
    return names.without(found, wanted.excluded) if wanted.excluded else found


class _Names:
    def __init__(self, text: bytes, starts: Sequence[int], step: Callable[[], None]) -> None:
        self._text = text
        self._starts = starts
        self._step = step

    def __len__(self) -> int:
        return len(self._starts) - 1

    def beginning_with(self, folded: str) -> list[range]:
        """Return the numbers of the names that begin so, as ranges that neither overlap nor meet.

        Names that begin alike stand together. So for each spelling of the first letter those that begin with it are
        found by bisection, among these those with each spelling of the second, and so on.
        """
        found: list[range] = []
        waiting = [(range(len(self)), b"", folded)]
        while waiting:
            among, begin, rest = waiting.pop()
            if len(among) <= FEW_NAMES:
                found += (range(at, at + 1) for at in among if self._folded(at).startswith(folded))
                continue
            for letter, fold in spellings(rest[0]):
                if fold.startswith(rest) or rest.startswith(fold):
                    spelled = begin + letter.encode("utf-8", "replace")
                    narrower = self._between(among, spelled)
                    if narrower and len(fold) >= len(rest):
                        found.append(narrower)
                    elif narrower:
                        waiting.append((narrower, spelled, rest[len(fold) :]))
            self._step()
        return _merged(found)

    def containing(self, ranges: Sequence[range], folded: str) -> Sequence[int]:
        """Return the numbers of those that contain this."""
        found = array("I")
        for part in self._parts(ranges):
            self._find_in(folded, part, found)
            self._step()
        return found

    def matching(self, among: Sequence[int], pattern: str) -> Sequence[int]:
        """Return the numbers of those in which the regular expression finds something."""
        found, search = array("I"), compiled(pattern).search
        until = time.thread_time() + PATTERN_SECONDS
        for first in range(0, len(among), PATTERN_STEP_NAMES):
            found.extend(at for at in among[first : first + PATTERN_STEP_NAMES] if search(self._name(at)) is not None)
            if time.thread_time() > until:
                raise WrongParameters(
                    [("regex", f"it takes over {PATTERN_SECONDS:.0f} s; make it simpler, or give prefix or q, too")]
                )
            self._step()
        return found

    def without(self, found: Sequence[int], excluded: frozenset[bytes]) -> Sequence[int]:
        """Return the same numbers but for those of these names."""
        left = array("I")
        begin = 0
        for number in sorted(self._numbers(excluded)):
            at = bisect_left(found, number)
            if at < len(found) and found[at] == number:
                self._copy(found, begin, at, left)
                begin = at + 1
        if not begin:
            return found
        self._copy(found, begin, len(found), left)
        return left

    def joined(self, ranges: Sequence[range]) -> Sequence[int]:
        """Return all numbers of these ranges."""
        if len(ranges) == 1:
            return ranges[0]
        found = array("I")
        for part in self._parts(ranges):
            found.extend(part)
            self._step()
        return found

    def _name(self, at: int) -> bytes:
        return self._text[self._starts[at] : self._starts[at + 1]]

    def _folded(self, at: int) -> str:
        return self._name(at).decode("utf-8", "replace").casefold()

    def _numbers(self, names: frozenset[bytes]) -> Iterator[int]:
        """Yield the numbers of those of these names that are there."""
        for name in names:
            at = bisect_left(range(len(self)), name, key=self._name)
            if at < len(self) and self._name(at) == name:
                yield at

    def _between(self, among: range, begin: bytes) -> range:
        """Return the numbers among these of the names that begin with these bytes."""
        everything = range(len(self))
        first = bisect_left(everything, begin, among.start, among.stop, key=self._name)
        last = bisect_right(everything, begin, first, among.stop, key=lambda at: self._name(at)[: len(begin)])
        return range(first, last)

    def _find_in(self, folded: str, among: range, found: array[int]) -> None:
        """Add the numbers among these of the names that contain this, without regard to case."""
        starts, origin = self._starts, self._starts[among.start]
        text, needle = self._text[origin : starts[among.stop]], folded.encode("utf-8", "replace")
        if not text.isascii():
            for at in among:
                name = self._name(at)
                if needle in name.lower() if name.isascii() else folded in name.decode("utf-8", "replace").casefold():
                    found.append(at)
            return
        text, at = text.lower(), among.start
        begin = text.find(needle)
        while begin >= 0:
            at = bisect_right(starts, origin + begin, at, among.stop + 1) - 1
            end = starts[at + 1] - origin
            if begin + len(needle) <= end:
                found.append(at)
                begin = text.find(needle, end)
            else:  # it reaches over into the next name
                begin = text.find(needle, begin + 1)

    def _parts(self, ranges: Sequence[range]) -> Iterator[range]:
        for each in ranges:
            for first in range(each.start, each.stop, STEP_NAMES):
                yield range(first, min(first + STEP_NAMES, each.stop))

    def _copy(self, found: Sequence[int], first: int, last: int, to: array[int]) -> None:
        for begin in range(first, last, STEP_NAMES):
            to.extend(found[begin : min(begin + STEP_NAMES, last)])
            self._step()


def spellings(folded: str) -> Sequence[tuple[str, str]]:
    """Return the characters whose folded form begins with this one, each with that form."""
    return [(folded, folded), *_cased().get(folded, ())]


@cache
def _cased() -> dict[str, list[tuple[str, str]]]:
    """Return all characters that are folded to something else, by the first character of that."""
    found: dict[str, list[tuple[str, str]]] = {}
    for letter in map(chr, range(_CASELESS)):
        fold = letter.casefold()
        if fold != letter:
            found.setdefault(fold[0], []).append((letter, fold))
    return found


def _merged(ranges: Sequence[range]) -> list[range]:
    """Return the same numbers in their order: ranges that meet become one."""
    merged: list[range] = []
    for each in sorted(ranges, key=lambda each: each.start):
        if merged and merged[-1].stop == each.start:
            merged[-1] = range(merged[-1].start, each.stop)
        else:
            merged.append(each)
    return merged
