"""What a word is: the pattern that finds it, and the one form in which it is counted. Pure."""

from __future__ import annotations

import re
from functools import cache
from unicodedata import category, normalize

#: Letters, digits and the marks on them, joined by single apostrophes, hyphens, or the invisible joiners that some
#: scripts have within words. No word begins with a mark, because signs and emoji have some behind them, too.
DEFAULT_WORD_PATTERN = r"\w[\w\p{Mn}\p{Mc}]*(?:['’\u200c\u200d-][\w\p{Mn}\p{Mc}]+)*"

#: Where Unicode has marks. To go through all of it would make each start a tenth of a second longer.
MARKS_ARE_IN = (range(0x300, 0x20000), range(0xE0100, 0xE01F0))

#: More marks than that in a row are in no language, and putting them in order takes time by the square of their number.
MOST_MARKS = 30

_ESCAPE = re.compile(r"\\(?:p\{(Mn|Mc)\}|.)", re.DOTALL)
_SET_OR_ESCAPE = re.compile(rf"\[\^?\]?(?:\\.|[^]\\])*\]|{_ESCAPE.pattern}", re.DOTALL)


def compile_word_pattern(pattern: str, flags: int = 0) -> re.Pattern[str]:
    r"""Compile a regular expression of Python in which `\p{Mn}` and `\p{Mc}` are the combining marks of Unicode.

    These may stand wherever a character may, between square brackets too. Raises re.error.
    """

    def expand(match: re.Match[str]) -> str:
        return _ESCAPE.sub(lambda escape: _marks(escape[1]) if escape[1] else escape[0], match[0])

    def expand_alone(match: re.Match[str]) -> str:
        return f"[{_marks(match[1])}]" if match[1] else expand(match)

    return re.compile(_SET_OR_ESCAPE.sub(expand_alone, pattern), flags)


def normalized(name: str) -> str:
    """Return the name in the form in which it is counted: NFC, so that é is one name whether or not it is in two parts.

    Runs of more than MOST_MARKS marks stay as they are.
    """
    if name.isascii():
        return name
    if len(name) <= MOST_MARKS:
        return normalize("NFC", name)
    # In a run that long three of every tenth characters in a row are marks, and most names have no three such.
    if not _marks_in_a_row(3).search(name[::10]):
        return normalize("NFC", name)
    parts = _marks_in_a_row(MOST_MARKS + 1).split(name)
    parts[::2] = [normalize("NFC", part) for part in parts[::2]]
    return "".join(parts)


def in_one_form(word: str, *, normalize: bool, fold_case: bool) -> str:
    """Return a whole word as it is counted where these are set: without regard to case, in NFC."""
    if normalize:
        word = normalized(word)
    if fold_case:
        word = word.casefold()  # which may take it apart
    return normalized(word) if normalize and fold_case else word


@cache
def _marks(name: str) -> str:
    """Return all characters of this category, as they are written between square brackets."""
    found: list[list[int]] = []
    for code in (code for block in MARKS_ARE_IN for code in block if category(chr(code)) == name):
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in found)


@cache
def _marks_in_a_row(least: int) -> re.Pattern[str]:
    return compile_word_pattern(rf"([\p{{Mn}}\p{{Mc}}]{{{least},}})")
