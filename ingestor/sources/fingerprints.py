"""Fingerprints: how a file is known again by its first bytes, whatever its name. Pure: no I/O."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

#: How many of a file's first bytes, at the most, tell it from another one that had its name before.
FINGERPRINT_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """So many first bytes of a file, and their digest. As text, `37-0123456789abcdef`."""

    length: int
    digest: str

    @classmethod
    def of(cls, first: bytes) -> Fingerprint:
        """The fingerprint of a file that begins so."""
        first = first[:FINGERPRINT_BYTES]
        return cls(len(first), hashlib.blake2b(first, digest_size=8).hexdigest())

    def fits(self, first: bytes) -> bool:
        """Whether a file that begins so, and may have grown meanwhile, is the one. Nothing fits an empty one."""
        return 0 < self.length <= len(first) and Fingerprint.of(first[: self.length]) == self

    def __str__(self) -> str:
        return f"{self.length}-{self.digest}"


def printable(path: Path) -> str:
    """The path as text that every server takes: bytes that are not UTF-8 as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
