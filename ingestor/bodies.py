"""From the body of a request to blocks of lines. Pure: no I/O, no clock; memory stays within the limits given.

A body is lines already (NDJSON, text), or JSON: one object, an array, or objects one behind the other as Fluent Bit's
`json_stream` has them. A media type that says neither is no hindrance, as curl sends one unasked: what begins like
JSON of events is taken for it. JSON becomes lines, an element each, whose bytes stay as they were; only line ends
inside an element, which JSON has between its tokens and nowhere else, become spaces. What an element or a line holds
is the aggregator's to judge: one bad event of a body must not cost the others.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from ingestor.framing import Framer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LINE_TYPES = (
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "text/plain",
)
JSON_TYPES = ("application/json",)

#: What a decompressor gives at once.
PIECE_BYTES = 1 << 18

#: The window of a zstd frame, as a power of two: 8 MiB, the most that RFC 9659 allows over HTTP.
ZSTD_WINDOW_LOG = 23

_CHARSET = re.compile(r"""(?:^|;)\s*charset\s*=\s*["']?([^"';\s]+)""", re.IGNORECASE)
_JSON_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_JSON_VALUES = msgspec.json.Decoder(msgspec.Raw)

#: What may stand in front of JSON: white space, the bytes of a byte order mark, and NUL.
_IN_FRONT = b" \t\r\n\xef\xbb\xbf\x00"

#: What is said of a body without any event in it.
_RIGHT = "send lines of JSON objects, one object, or an array of objects"


class BodyRefused(Exception):
    """The body cannot be taken: the status of the answer, what is wrong, and what would be right."""

    def __init__(self, status: int, title: str, detail: str, **headers: str) -> None:
        super().__init__(f"{title}: {detail}")
        self.status, self.title, self.detail = status, title, detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True, slots=True)
class Lines:
    """A whole body: its blocks, how many lines they hold that are not blank, and a digest of them."""

    blocks: list[bytes]
    count: int
    digest: str


class BodyReader:
    """Takes a body in pieces as they come, and gives its lines at the end. Raises BodyRefused at any point."""

    def __init__(
        self,
        *,
        content_type: str | None,
        content_encoding: str | None,
        max_body_bytes: int,
        max_line_bytes: int,
        max_block_bytes: int,
    ) -> None:
        self._content_type = content_type
        self._kind = _kind(content_type)
        self._decompress = _decompressor(content_encoding)
        self._max_body_bytes = max_body_bytes
        self._max_block_bytes = max_block_bytes
        self._framer = Framer(max_line_bytes=max_line_bytes, max_block_bytes=max_block_bytes)
        self._json = bytearray()
        self._blocks: list[bytes] = []
        self._sent_bytes = 0
        self.held_bytes = 0  # after decompression

    def feed(self, chunk: bytes) -> None:
        """Add what came next."""
        self._sent_bytes += len(chunk)
        if self._sent_bytes > self._max_body_bytes:
            raise too_large(self._max_body_bytes)
        for piece in self._decompress.feed(chunk) if self._decompress else (chunk,):
            self.held_bytes += len(piece)
            if self.held_bytes > self._max_body_bytes:
                raise too_large(self._max_body_bytes)
            if self._kind is None:
                first = piece.lstrip(_IN_FRONT)[:1]
                if not first:
                    continue
                if first not in (b"[", b"{"):
                    raise _unsupported(self._content_type)
                self._kind = "json"
            if self._kind == "json":
                self._json += piece
            else:
                self._framer.feed(piece)
                if self._framer.piled_bytes > self._max_block_bytes:
                    self._cut(finished=False)

    def finish(self) -> Lines:
        """The body has ended. One of nothing but blank lines has none; one without any byte is none."""
        if not self._sent_bytes:
            raise BodyRefused(400, "The body is empty", _RIGHT)
        if self._decompress and not self._decompress.finished:
            raise BodyRefused(400, "The body cannot be decompressed", "it ends in the middle")
        if not self.held_bytes:
            raise BodyRefused(400, "The body is empty", _RIGHT)
        if self._kind == "json":
            for line in _json_lines(self._json):
                self._framer.feed(line)
                self._framer.feed(b"\n")
                if self._framer.piled_bytes > self._max_block_bytes:
                    self._cut(finished=False)
            self._json = bytearray()
        self._cut(finished=True)
        digest = blake2b(digest_size=16)
        for block in self._blocks:
            digest.update(block)
            digest.update(b"\n")
        return Lines(self._blocks, sum(map(_count_lines, self._blocks)), digest.hexdigest())

    def _cut(self, *, finished: bool) -> None:
        while (finished or self._framer.piled_bytes > self._max_block_bytes) and (
            block := self._framer.take(finished=finished)
        ):
            self._blocks.append(block.lines)


def too_large(max_body_bytes: int) -> BodyRefused:
    """For a body over the limit: as sent, as announced, or after decompression."""
    detail = f"at most {max_body_bytes} bytes, before and after decompression; send fewer events at once"
    return BodyRefused(413, "The body is too large", f"{detail}, or raise TALLY_MAX_BODY_BYTES")


def _count_lines(block: bytes) -> int:
    """How many of its lines are events or will be rejected: blank ones are nothing."""
    return sum(map(bool, map(bytes.strip, block.split(b"\n"))))


def _kind(content_type: str | None) -> Literal["lines", "json"] | None:
    """What the media type says; None where only the content can tell."""
    media_type, _, parameters = (content_type or "").partition(";")
    media_type = media_type.strip().lower()
    charset = _CHARSET.search(parameters)
    if charset is not None and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise BodyRefused(415, "The charset is not supported", f"Content-Type is {content_type}; send UTF-8")
    if media_type in LINE_TYPES:
        return "lines"
    if media_type in JSON_TYPES or media_type.endswith("+json"):
        return "json"
    return None


def _unsupported(content_type: str | None) -> BodyRefused:
    """For a body whose media type does not say what it is, and which is not JSON either."""
    types = ", ".join(LINE_TYPES + JSON_TYPES)
    return BodyRefused(
        415,
        "The media type is not supported",
        f"Content-Type is {content_type or 'missing'}, and the body is no JSON object or array; send one of {types}",
        Accept=types,
    )


def _json_lines(body: bytearray) -> Iterator[bytes]:
    """The elements of an array, or the values one behind the other, a line each."""
    del body[: len(body) - len(body.lstrip(_IN_FRONT))]
    first = bytes(body[:1])
    if first not in (b"[", b"{"):
        raise BodyRefused(400, "The body is not JSON of events", _RIGHT)
    try:
        values = _JSON_ARRAY.decode(body) if first == b"[" else _JSON_VALUES.decode_lines(body)
    except RecursionError:
        raise BodyRefused(400, "The body is not JSON of events", "it is nested too deeply") from None
    except msgspec.MsgspecError as error:
        raise BodyRefused(400, "The body is not JSON of events", str(error)) from None
    for value in values:
        yield bytes(value).replace(b"\n", b" ")


class _Decompressor:
    """Members or frames one behind the other, given in pieces that are never large."""

    def __init__(self, start: Callable[[], Any], errors: tuple[type[Exception], ...]) -> None:
        self._start = start
        self._errors = errors
        self._member: Any = None

    @property
    def finished(self) -> bool:
        """Whether a body may end here. None at all is no empty one."""
        return self._member is not None and bool(self._member.eof)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        piece = b""
        while chunk or len(piece) == PIECE_BYTES:  # there may be more of what went in before
            if self._member is None or self._member.eof:
                if not chunk:
                    return
                self._member = self._start()
            try:
                piece = self._member.decompress(chunk, PIECE_BYTES)
            except self._errors as error:
                raise BodyRefused(400, "The body cannot be decompressed", str(error)) from None
            # What is left over: behind the end of this member, or (zlib alone gives it back) of this one.
            chunk = self._member.unused_data if self._member.eof else getattr(self._member, "unconsumed_tail", b"")
            if piece:
                yield piece


def _zstd() -> Any:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG})


_ENCODINGS: dict[str, tuple[Callable[[], Any], tuple[type[Exception], ...]]] = {
    "gzip": (lambda: zlib.decompressobj(wbits=31), (zlib.error,)),
    "x-gzip": (lambda: zlib.decompressobj(wbits=31), (zlib.error,)),
    "deflate": (lambda: zlib.decompressobj(wbits=15), (zlib.error,)),
    "zstd": (_zstd, (zstd.ZstdError,)),
}


def _decompressor(content_encoding: str | None) -> _Decompressor | None:
    encoding = (content_encoding or "identity").strip().lower()
    if encoding == "identity":
        return None
    if encoding not in _ENCODINGS:
        raise BodyRefused(
            415,
            "The content encoding is not supported",
            f"Content-Encoding is {content_encoding}; send gzip, zstd, deflate or none",
            Accept_Encoding="gzip, zstd, deflate",
        )
    return _Decompressor(*_ENCODINGS[encoding])
