"""Tables of any number of rows: made in slices, each when the client has taken most of those before.

Such an answer takes the memory of a slice, however many rows it has, besides that of what it is made of, which stays as
it was read. It has no length in its head: a client knows by the end of the last chunk that it is whole.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from api.answer_cache import LEAST_BYTES_A_SECOND, SEND_SECONDS, SLICE_BYTES, matches
from api.compression import compressing, preferred
from api.formats import MEDIA_TYPES, encoded_rows
from api.memory import Memory
from api.params import Format
from api.work import FEW_NAMES, Busy, Work
from tally.log_throttle import LogThrottle
from tally.refused import Refused
from tally.store import StoreUnavailable

#: What a table takes while it is sent: a slice of rows, these as text, and the state of a compressor.
TABLE_BYTES = 4 * 2**20

_VARY = "Accept, Accept-Encoding"

_log = LogThrottle()


class Rows(Protocol):
    """The rows of a table."""

    @property
    def columns(self) -> Sequence[str]:
        """Return what each row has."""

    async def slice(self, first: int, limit: int, *, most_bytes: int) -> list[dict[str, Any]]:
        """Return so many rows from this place on, fewer if they are so many bytes; none if there are no more."""


class Table(Response):
    """A table of any number of rows, as CSV or NDJSON, compressed as the client prefers."""

    def __init__(
        self,
        rows: Rows,
        format_: Format,
        *,
        request: Request,
        made_of: object,
        headers: Mapping[str, str],
        work: Work,
        memory: Memory,
    ) -> None:
        """`made_of` tells this table from any other: two that are made of the same are the same."""
        self._rows, self._format = rows, format_
        self._work, self._memory = work, memory
        self._encoding = preferred(",".join(request.headers.getlist("accept-encoding")))
        etag = f'W/"{hashlib.blake2b(repr((format_, made_of)).encode(), digest_size=12).hexdigest()}"'
        self._unchanged = matches(request.headers.get("if-none-match", ""), etag)
        encoded = {} if self._unchanged or self._encoding is None else {"Content-Encoding": self._encoding}
        super().__init__(
            status_code=304 if self._unchanged else 200,
            media_type=None if self._unchanged else MEDIA_TYPES[format_],
            headers={
                **headers,
                **encoded,
                "Vary": "Accept, Accept-Encoding",
                "ETag": etag,
                "Cache-Control": "no-cache",
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises Busy, NoRoom and StoreUnavailable before it begins; ends early for what happens later."""
        if self._unchanged:
            await super().__call__(scope, receive, send)
            return
        async with AsyncExitStack() as held:
            await held.enter_async_context(self._work.tables.take())
            held.enter_context(self._memory.claim()).grow_to(TABLE_BYTES)
            slices = self._slices()
            part = await anext(slices)
            del self.headers["content-length"]
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            leaving = asyncio.create_task(_disconnected(receive), name="wait for the client to leave")
            try:
                await self._send(part, slices, leaving, send)
            except TimeoutError:
                _log.warning("a client takes its answer too slowly, given up")
            except (Busy, StoreUnavailable, Refused) as error:
                _log.warning("a table ends early", problem=str(error))
            finally:
                leaving.cancel()

    async def _send(self, part: bytes, slices: AsyncIterator[bytes], leaving: asyncio.Task[None], send: Send) -> None:
        """Send slices until there are no more, or the client has left. Raises TimeoutError if it is too slow."""
        loop = asyncio.get_running_loop()
        may_wait = SEND_SECONDS
        while not leaving.done():
            began = loop.time()
            async with asyncio.timeout(may_wait):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            may_wait += len(part) / LEAST_BYTES_A_SECOND - (loop.time() - began)
            following = await anext(slices, None)
            if following is None:
                await send({"type": "http.response.body", "body": b""})
                return
            part = following

    async def _slices(self) -> AsyncIterator[bytes]:
        """Yield the answer's body in parts."""
        compressor = None if self._encoding is None else compressing(self._encoding)

        def encode(rows: list[dict[str, Any]], heading: bool) -> bytes:
            body = encoded_rows(self._format, self._rows.columns, rows, heading=heading)
            if compressor is None:
                return body
            return compressor.compress(body) if rows else compressor.compress(body) + compressor.flush()

        first = 0
        while True:
            rows = await self._rows.slice(first, FEW_NAMES, most_bytes=SLICE_BYTES)
            ends = not rows
            part = await self._work.slice(encode, rows, not first)
            first += len(rows)
            del rows  # while the client takes its time
            yield part  # which may be empty, while the compressor keeps it back
            if ends:
                return


async def _disconnected(receive: Receive) -> None:
    """Wait until the client is gone. What comes of a body, which a GET has no use for, is left alone."""
    while (await receive())["type"] != "http.disconnect":
        pass
