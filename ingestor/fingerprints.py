"""Fingerprints: how a file is known again by its first bytes, and by the last ones before a position. Pure: no I/O."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tally.stripes import IN_A_LINE, MOVED

#: How many bytes at the most: a file's first, or the last before a position.
FINGERPRINT_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """So many bytes of a file, and their digest. As text, `37-0123456789abcdef`."""

    length: int
    digest: str

    @classmethod
    def of(cls, some: bytes) -> Fingerprint:
        """Return the fingerprint of these bytes, at most FINGERPRINT_BYTES."""
        return cls(len(some), hashlib.blake2b(some, digest_size=8).hexdigest())

    @classmethod
    def parse(cls, text: str) -> Fingerprint | None:
        """Read it as it was written, or as it is stored; None if it is none."""
        length, dash, digest = text.partition(MOVED)[0].removesuffix(IN_A_LINE).partition("-")
        return cls(int(length), digest) if dash and length.isdecimal() and digest else None

    @classmethod
    def of_beginnings(cls, first: bytes) -> Iterator[Fingerprint]:
        """Give the fingerprint of each beginning of these bytes, the shortest first."""
        so_far = hashlib.blake2b(digest_size=8)
        for length, byte in enumerate(first, start=1):
            so_far.update(bytes((byte,)))
            yield cls(length, so_far.hexdigest())

    def fits(self, first: bytes) -> bool:
        """Return whether a file that begins so, and may have grown meanwhile, is the one. Nothing fits an empty one."""
        return 0 < self.length <= len(first) and Fingerprint.of(first[: self.length]) == self

    def fits_last(self, before: bytes) -> bool:
        """Return whether the bytes before a position are these, given all of them or as many as a fingerprint takes."""
        return self.length <= len(before) and Fingerprint.of(before[len(before) - self.length :]) == self

    def __str__(self) -> str:
        return f"{self.length}-{self.digest}"


def path_text(path: Path) -> str:
    """Return the path as text that every server takes: bytes that are not UTF-8 as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
