"""How compressed files are made, by suffix."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from collections.abc import Callable
from functools import partial

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACK: dict[str, Callable[[bytes], bytes]] = {
    # Without the time of day, so that a test that is named by its content has one name.
    "gz": partial(gzip.compress, mtime=0),
    "zst": zstd.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": partial(lzma.compress, format=lzma.FORMAT_ALONE),
}


def pack_zst(content: bytes, *, window_log: int) -> bytes:
    """As `zstd --long=WINDOW_LOG` does with what comes out of a pipe."""
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: window_log})
    return compressor.compress(content) + compressor.flush()
