"""From the body of a request to blocks of lines. Pure: no I/O, no clock; memory stays within the limits given.

A body is lines already (NDJSON, text), or JSON: one object, an array, or concatenated objects, as Fluent Bit's
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
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

from ingestor.elements import IN_FRONT, Elements, NotEvents
from ingestor.framing import Framer
from tally.padding import BYTE_ORDER_MARK, NUL
from tally.web.problem_types import (
    BODY_TOO_LARGE,
    EMPTY_BODY,
    NOT_EVENTS,
    UNREADABLE_BODY,
    UNSUPPORTED_BODY,
    ProblemError,
)

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

#: What is done at once: a few milliseconds of work, whatever the bytes are.
PIECE_BYTES = 1 << 15

#: Members or frames of a compressed body. Each costs as much as a KiB, even if it is empty.
MAX_MEMBERS = 10_000

#: The window of a zstd frame, as a power of two: 8 MiB, the most that RFC 9659 allows over HTTP.
ZSTD_WINDOW_LOG = 23

_CHARSET = re.compile(r"""(?:^|;)\s*charset\s*=\s*["']?([^"';\s]+)""", re.IGNORECASE)

#: White space as bytes.strip() knows it, but for the line end; and NUL, which is blank by itself as well.
_BLANK = b" \t\r\x0b\x0c" + NUL

#: Makes x of every byte but the line end.
_SHAPE = bytes(each if each == 0x0A else 0x78 for each in range(256))

#: What is said of a body without any event in it.
_RIGHT = "send lines of JSON objects, one object, or an array of objects"


class BodyRefused(ProblemError):
    """The body cannot be taken: the type of problem, and what is wrong with this one or what would be right."""


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
        max_body_lines: int,
        max_line_bytes: int,
        max_block_bytes: int,
    ) -> None:
        self._content_type = content_type
        self._kind = _kind(content_type)
        self._decompress = _decompressor(content_encoding)
        self._max_body_bytes = max_body_bytes
        self._max_body_lines = max_body_lines
        self._max_block_bytes = max_block_bytes
        self._framer = Framer(max_line_bytes=max_line_bytes, max_block_bytes=max_block_bytes)
        self._elements = Elements()
        self._blocks: list[bytes] = []
        self._lines = 0
        self._digest = blake2b(digest_size=16)
        self._sent_bytes = 0
        self.buffered_bytes = 0  # after decompression

    def feed(self, chunk: bytes) -> Iterator[None]:
        """Add what came next, step by step: the caller lets others run in between, for each takes milliseconds."""
        self._sent_bytes += len(chunk)
        if self._sent_bytes > self._max_body_bytes:
            raise too_large(self._max_body_bytes)
        for number, piece in enumerate(self._decompressed(chunk)):
            if number:
                yield
            self.buffered_bytes += len(piece)
            if self.buffered_bytes > self._max_body_bytes:
                raise too_large(self._max_body_bytes)
            self._take(piece)

    def finish(self) -> Lines:
        """Return the lines of the whole body. One of blank lines alone has none; one without any byte is refused."""
        if not self._sent_bytes:
            raise BodyRefused(EMPTY_BODY, _RIGHT)
        if self._decompress and not self._decompress.finished:
            raise BodyRefused(UNREADABLE_BODY, "it ends in the middle")
        if not self.buffered_bytes:
            raise BodyRefused(EMPTY_BODY, _RIGHT)
        if self._kind == "json":
            with self._json_explained():
                self._framer.feed(self._elements.finish())
        self._cut(finished=True)
        return Lines(self._blocks, self._lines, self._digest.hexdigest())

    def _decompressed(self, chunk: bytes) -> Iterator[bytes]:
        for at in range(0, len(chunk), PIECE_BYTES):
            piece = chunk[at : at + PIECE_BYTES]
            if self._decompress:
                yield from self._decompress.feed(piece)
            else:
                yield piece

    def _take(self, piece: bytes) -> None:
        if self._kind is None:
            first = piece.lstrip(IN_FRONT)[:1]
            if not first:
                self._elements.feed(piece)  # which passes over it
                return
            if first not in (b"[", b"{"):
                raise _unsupported(self._content_type)
            self._kind = "json"
        if self._kind == "json":
            with self._json_explained():
                piece = self._elements.feed(piece)
        self._framer.feed(piece)
        if self._framer.piled_bytes > self._max_block_bytes:
            self._cut(finished=False)

    def _cut(self, *, finished: bool) -> None:
        while (finished or self._framer.piled_bytes > self._max_block_bytes) and (
            block := self._framer.take(finished=finished)
        ):
            self._blocks.append(block.lines)
            self._digest.update(block.lines)
            self._digest.update(b"\n")
            self._lines += _count_lines(block.lines)
            if self._lines > self._max_body_lines:
                raise too_many_lines(self._max_body_lines)

    @contextmanager
    def _json_explained(self) -> Iterator[None]:
        try:
            yield
        except NotEvents as error:
            raise BodyRefused(NOT_EVENTS, f"{error}; {_RIGHT}") from None


def too_large(max_body_bytes: int) -> BodyRefused:
    """Return the refusal of a body over the limit: as sent, as announced, or after decompression."""
    detail = f"at most {max_body_bytes} bytes, before and after decompression; send fewer events at once"
    return BodyRefused(BODY_TOO_LARGE, f"{detail}, or raise TALLY_MAX_BODY_BYTES")


def too_many_lines(max_body_lines: int) -> BodyRefused:
    """Return the refusal of a body of more lines, or elements of an array, than a body may have."""
    detail = f"at most {max_body_lines} lines, or elements of an array; send fewer events at once"
    return BodyRefused(BODY_TOO_LARGE, f"{detail}, or raise TALLY_MAX_BODY_LINES")


def _count_lines(block: bytes) -> int:
    """Return how many of its lines are events or will be rejected: blank ones are nothing."""
    return (b"\n" + block.replace(BYTE_ORDER_MARK, b"").translate(_SHAPE, _BLANK)).count(b"\nx")


def _kind(content_type: str | None) -> Literal["lines", "json"] | None:
    """Return what the media type says; None where only the content can tell."""
    media_type, _, parameters = (content_type or "").partition(";")
    media_type = media_type.strip().lower()
    charset = _CHARSET.search(parameters)
    if charset is not None and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise BodyRefused(UNSUPPORTED_BODY, f"the charset is not supported: Content-Type is {content_type}; send UTF-8")
    if media_type in LINE_TYPES:
        return "lines"
    if media_type in JSON_TYPES or media_type.endswith("+json"):
        return "json"
    return None


def _unsupported(content_type: str | None) -> BodyRefused:
    """Return the refusal of a body whose media type does not say what it is, and which is not JSON either."""
    types = ", ".join(LINE_TYPES + JSON_TYPES)
    return BodyRefused(
        UNSUPPORTED_BODY,
        f"the media type is not supported: Content-Type is {content_type or 'missing'}, and the body is no JSON object "
        f"or array; send one of {types}",
        headers={"Accept": types},
    )


class _Decompressor:
    """Concatenated members or frames, given in pieces that are never large."""

    def __init__(self, start: Callable[[], Any], errors: tuple[type[Exception], ...]) -> None:
        self._start = start
        self._errors = errors
        self._members = 0
        self._member: Any = None

    @property
    def finished(self) -> bool:
        """Return whether a body may end here. None at all is no empty one."""
        return self._member is not None and bool(self._member.eof)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        piece = b""
        while chunk or len(piece) == PIECE_BYTES:  # there may be more of what went in before
            if self._member is None or self._member.eof:
                if not chunk:
                    return
                self._members += 1
                if self._members > MAX_MEMBERS:
                    detail = f"it has over {MAX_MEMBERS} concatenated compressed parts; compress it as one"
                    raise BodyRefused(BODY_TOO_LARGE, detail)
                self._member = self._start()
            try:
                piece = self._member.decompress(chunk, PIECE_BYTES)
            except self._errors as error:
                raise BodyRefused(UNREADABLE_BODY, str(error)) from None
            # What is left over: behind the end of this member, or (zlib alone gives it back) of this one.
            chunk = self._member.unused_data if self._member.eof else getattr(self._member, "unconsumed_tail", b"")
            yield piece  # also if it is empty, for the end of a member is work, too


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
            UNSUPPORTED_BODY,
            f"the content encoding is not supported: Content-Encoding is {content_encoding}; "
            "send gzip, zstd, deflate or none",
            headers={"Accept-Encoding": "gzip, zstd, deflate"},
        )
    return _Decompressor(*_ENCODINGS[encoding])
