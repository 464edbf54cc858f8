"""Answers by gzip or zstd, for clients that accept that.

Compression tells what is in an answer by its length to who can put text of their own beside a secret in it and read the
wire (BREACH). There is no secret in any answer: a token is only ever sent to us, and nothing of a request is told back
but names and numbers that it asked for.
"""

from __future__ import annotations

import asyncio
import re
import sys
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Literal, Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tally.web.paths import path_below_root

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Encoding = Literal["zstd", "gzip"]

#: Of those that are liked the same the first is given: it takes a fifth of the other's time.
ENCODINGS: tuple[Encoding, ...] = ("zstd", "gzip")

#: What is smaller is sent as it is: it would still be one packet.
LEAST_BYTES = 1024

#: What is larger is compressed in a thread; both libraries let others run meanwhile.
INLINE_BYTES = 16_384

#: What is compressed often, and what is compressed once.
_LEVELS: dict[Encoding, tuple[int, int]] = {"zstd": (3, 12), "gzip": (5, 9)}

#: How much of pages and assets is remembered in compressed form: they take half a megabyte in all.
_REMEMBERED_BYTES = 4 * 2**20

#: What is compressed here; answers with counts are in answer_cache.AnswerCache, and the live feed must not wait.
_PAGES = frozenset({"", "/", "/docs", "/openapi.json"})
_COMPRESSIBLE = ("text/", "application/json", "application/javascript", "image/svg+xml")


@lru_cache(maxsize=256)
def preferred(accept_encoding: str) -> Encoding | None:
    """Return what an Accept-Encoding header (RFC 9110, 12.5.3) prefers of ours; None to send an answer as it is."""
    qualities = dict(_codings(accept_encoding))
    liked = {each: qualities.get(each, qualities.get("*", 0.0)) for each in ENCODINGS}
    best = max(ENCODINGS, key=liked.__getitem__)
    # An answer as it is is liked less than what is named, unless it is named, too.
    return best if liked[best] > 0 and liked[best] >= qualities.get("identity", 0.0) else None


def _codings(accept_encoding: str) -> Iterator[tuple[str, float]]:
    """Return each coding with its quality. One whose quality cannot be read says nothing."""
    for element in accept_encoding.lower().split(","):
        coding, _, weight = (part.strip() for part in element.partition(";"))
        if not weight:
            yield coding.removeprefix("x-"), 1.0
        elif re.fullmatch(r"q\s*=\s*(0(\.\d{0,3})?|1(\.0{0,3})?)", weight, re.ASCII):
            yield coding.removeprefix("x-"), float(weight.partition("=")[2])


async def compressed(body: bytes, encoding: Encoding, *, once: bool = False) -> bytes:
    """Return the body in this encoding; `once` if it will be sent many times."""
    if len(body) <= INLINE_BYTES and not once:
        return _compress(body, encoding, once)
    return await asyncio.to_thread(_compress, body, encoding, once)


def _compress(body: bytes, encoding: Encoding, once: bool) -> bytes:
    if encoding == "zstd":
        return zstd.compress(body, _LEVELS[encoding][once])  # which knows its length
    compressor = compressing(encoding, once=once)
    return compressor.compress(body) + compressor.flush()


class Compressor(Protocol):
    """Compresses what comes in parts. It may keep back some of it until it is told that this is all."""

    def compress(self, part: bytes, /) -> bytes:
        """Return what can be sent by now."""

    def flush(self) -> bytes:
        """Return the rest."""


def compressing(encoding: Encoding, *, once: bool = False) -> Compressor:
    """Return what compresses one body in this encoding."""
    level = _LEVELS[encoding][once]
    if encoding == "zstd":
        return zstd.ZstdCompressor(level)
    # Its header has no time: the same body gives the same bytes.
    return zlib.compressobj(level, wbits=16 + zlib.MAX_WBITS)


class CompressedPages:
    """Compresses the page, its assets and the OpenAPI document, each once in a process' life."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._remembered: OrderedDict[tuple[bytes, Encoding], bytes] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        path = path_below_root(scope)
        if path not in _PAGES and not path.startswith("/static/"):
            await self._app(scope, receive, send)
            return
        encoding = preferred(",".join(Headers(scope=scope).getlist("accept-encoding")))
        start: Message | None = None
        parts: list[bytes] = []

        async def compress(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                headers.add_vary_header("Accept-Encoding")
                kind = headers.get("content-type", "")
                if encoding and message["status"] == 200 and kind.startswith(_COMPRESSIBLE):
                    start = message
                else:
                    await send(message)
            elif start is None:
                await send(message)
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    await self._send(start, b"".join(parts), encoding, send)

        # The server leaves out the body of an answer to HEAD; its length is that of the body all the same.
        await self._app({**scope, "method": "GET"}, receive, compress)

    async def _send(self, start: Message, body: bytes, encoding: Encoding | None, send: Send) -> None:
        if encoding and len(body) >= LEAST_BYTES:
            body = await self._compressed(body, encoding)
            headers = MutableHeaders(raw=start["headers"])
            headers["Content-Encoding"] = encoding
            headers["Content-Length"] = str(len(body))
            if (etag := headers.get("etag")) and not etag.startswith("W/"):
                headers["ETag"] = f"W/{etag}"  # a strong one would be that of other bytes
            if "accept-ranges" in headers:
                del headers["accept-ranges"]
        await send(start)
        await send({"type": "http.response.body", "body": body})

    async def _compressed(self, body: bytes, encoding: Encoding) -> bytes:
        known = (blake2b(body, digest_size=16).digest(), encoding)
        found = self._remembered.get(known)
        if found is None:
            found = self._remembered[known] = await compressed(body, encoding, once=True)
            while sum(map(len, self._remembered.values())) > _REMEMBERED_BYTES:
                self._remembered.popitem(last=False)
        return found
