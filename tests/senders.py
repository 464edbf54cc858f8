"""Clients of the ingestor's listening sources, as plain as they come."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from tests.waiting import wait_until

LINES = "application/x-ndjson"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes
    json: Any = field(repr=False)


def post(
    port: int, body: bytes | Iterable[bytes], *, kind: str | None = LINES, path: str = "/events", **headers: str
) -> Answer:
    """POST a body; an iterable of pieces is sent chunked. `idempotency_key="x"` is a header."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if kind is not None:
        sent["content-type"] = kind
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", path, body=body, headers=sent, encode_chunked=not isinstance(body, bytes))
        response = connection.getresponse()
        content = response.read()
    is_json = response.getheader("content-type", "").endswith("json")
    return Answer(
        response.status,
        {name.lower(): value for name, value in response.getheaders()},
        content,
        json.loads(content) if is_json else None,
    )


def raw(port: int, request: bytes, *, half_close: bool = False) -> bytes:
    """Send bytes as they are, and read the answer to the connection's end."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def listens(port: int) -> bool:
    """Return whether somebody takes connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def wait_for_port(port: int) -> None:
    """Until somebody does."""
    wait_until(lambda: listens(port), what=f"somebody listens on port {port}")
