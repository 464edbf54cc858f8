"""What a server holds after its clock was set back: consumers that were seen, and blocks delivered, in the future.

No command writes that, and nobody sets the clock of a machine for a test. So times in a dump of the stream are moved.
"""

from __future__ import annotations

import struct
from typing import Any

_POLYNOMIAL = int(f"{0xAD93D23594C935A9:064b}"[::-1], 2)


def clock_set_back(client: Any, stream: str, *, seconds: float) -> None:
    """Make it look as if the clock had been ahead by so much until now. `client` is a blocking one."""
    times = set()
    for group in client.xinfo_stream(stream, full=True)["groups"]:
        for consumer in group["consumers"]:
            times |= {consumer[b"seen-time"], *(delivered for _, delivered, _ in consumer[b"pending"])}
    dump = client.dump(stream)
    body = dump[:-8]
    for time_ms in times:
        moved = struct.pack("<q", time_ms + round(seconds * 1000))
        assert struct.pack("<q", time_ms) in body
        body = body.replace(struct.pack("<q", time_ms), moved)
    client.restore(stream, 0, body + struct.pack("<Q", _crc64(body)), replace=True)


def _crc64(data: bytes) -> int:
    """Return the CRC-64 of Jones, as Redis has it at the end of a dump."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    sum_ = 0
    for byte in data:
        sum_ = table[(sum_ ^ byte) & 255] ^ sum_ >> 8
    return sum_
