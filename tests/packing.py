"""How compressed files are made, by suffix."""

from __future__ import annotations

import bz2
import gzip
import sys
from collections.abc import Callable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": zstd.compress, "bz2": bz2.compress}
