"""An answer that a connection gives by itself before it is closed: to what is no request, or cannot be read on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from http import HTTPStatus

from tally.web.problem_types import ProblemType, problem_members
from tally.web.request_ids import REQUEST_ID


def last_answer(
    type_: ProblemType, detail: str, *, request_id: str, headers: Iterable[tuple[bytes, bytes]] = ()
) -> bytes:
    """Return its bytes, as HTTP/1.1 has them, with these headers besides its own."""
    status, body = HTTPStatus(type_.status), json.dumps(problem_members(type_, detail)).encode()
    all_headers = [
        *headers,
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        (REQUEST_ID.lower().encode(), request_id.encode()),
    ]
    lines = [b"HTTP/1.1 %d %s" % (status, status.phrase.encode()), *(b"%s: %s" % each for each in all_headers)]
    return b"\r\n".join([*lines, b"", body])
