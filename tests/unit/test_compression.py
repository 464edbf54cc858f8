"""Which encoding an Accept-Encoding header likes best, and what a body becomes in it."""

from __future__ import annotations

import gzip
import sys

import pytest

from api.compression import INLINE_BYTES, Encoding, compressed, preferred

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@pytest.mark.parametrize(
    ("accept_encoding", "given"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "gzip"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("zstd;q=0.5,gzip;q=0.4", "zstd"),
        ("gzip; q=0.1", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0.000", None),
        ("*", "zstd"),
        ("*;q=0", None),
        ("zstd;q=0, *", "gzip"),
        ("gzip;q=0.5, identity", None),
        ("gzip, identity;q=0.5", "gzip"),
        ("identity;q=0, gzip;q=0.2", "gzip"),
        ("gzip;q=high", None),
        ("gzip;q=1.5", None),
        ("br, deflate", None),
        ("compress, not-gzip, zstdx", None),
        (",;q=1, ,", None),
    ],
)
def test_the_encoding_is_the_one_that_is_liked_best(accept_encoding: str, given: Encoding | None) -> None:
    assert preferred(accept_encoding) == given


@pytest.mark.parametrize("size", [0, 5000, INLINE_BYTES * 40])
@pytest.mark.parametrize("once", [False, True])
async def test_a_compressed_body_is_the_same_and_smaller(size: int, once: bool) -> None:
    body = b"".join(b"%d," % number for number in range(size // 4))
    for encoding, decompress in (("gzip", gzip.decompress), ("zstd", zstd.decompress)):
        small = await compressed(body, encoding, once=once)  # type: ignore[arg-type]
        assert decompress(small) == body
        assert len(small) < len(body) or not body
        assert small == await compressed(body, encoding, once=once)  # type: ignore[arg-type]
