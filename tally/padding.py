"""What stands in front of a line and is no part of it: NULs and byte order marks. Pure.

A writer that does not append leaves a hole, which reads as NULs, where its file was cut down under it; so does a
machine that loses power. Programs on Windows begin a file with a byte order mark; joined, it is in the middle.
"""

from __future__ import annotations

import re

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

#: What stands for padding that is too long to be kept: the aggregators count its line as one that had some.
NUL = b"\0"

_SPACE = b" \t\r"
_STARTS = (b"\0", BYTE_ORDER_MARK, b" ", b"\t", b"\r")
_PADDING = re.compile(rb"(?:\0++|[ \t\r]++|\xef\xbb\xbf)*+")


def padding_bytes(line: bytes | bytearray) -> int:
    """Return how many bytes of NULs, byte order marks and white space between them a line begins with.

    0 where there is white space alone: that is part of a line, and was always allowed.
    """
    if not line.startswith(_STARTS):
        return 0
    match = _PADDING.match(line)
    end = match.end() if match else 0
    return end if line[:end].strip(_SPACE) else 0


def without_padding(line: bytes) -> bytes:
    """Return the line without what pads it: the same object if there is none."""
    padding = padding_bytes(line)
    return line[padding:] if padding else line


def is_blank(line: bytes) -> bool:
    """Return whether nothing but white space, NULs and byte order marks is on this line."""
    return not line.replace(BYTE_ORDER_MARK, b"").replace(NUL, b"").strip()


def torn(line: bytes) -> tuple[bytes, bytes] | None:
    """Return half a line that stands in front of NULs, and what may be an event behind them; None if that may not.

    Of what was being written when a machine loses power, a half may reach the disk. The next line is then written
    behind the NULs that stand for the other. No JSON has NULs in it.
    """
    half, nul, rest = line.rpartition(NUL)
    rest = without_padding(nul + rest)
    return (half.rstrip(NUL), rest) if nul and rest[:1] == b"{" else None
