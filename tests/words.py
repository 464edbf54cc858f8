"""What a word is, once more: found with the standard library alone, for the counts that Tally's are compared with."""

from __future__ import annotations

import re
import sys
from unicodedata import category, normalize

_MARKS = "".join(each for each in map(chr, range(sys.maxunicode + 1)) if category(each) in ("Mn", "Mc"))

WORD = re.compile(rf"\w[\w{_MARKS}]*(?:['’\u200c\u200d-][\w{_MARKS}]+)*")


def words_of(text: str) -> list[str]:
    """The words of a text, in its order."""
    return WORD.findall(normalize("NFC", text))
