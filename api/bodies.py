"""Questions that are too long for an address: JSON in the body of a POST, within bounds of size and time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import msgspec
from fastapi import Request
from starlette.requests import ClientDisconnect

from api.memory import Memory
from tally.web.problem_types import (
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    MALFORMED_BODY,
    UNSUPPORTED_BODY,
    ProblemError,
    WrongParameters,
)

#: How many names may be asked for at once, and how long each may be.
MOST_NAMES, MOST_CHARACTERS = 1000, 4096

#: How large a body may be, and how long it may take.
MOST_BYTES, MOST_SECONDS = 1_048_576, 10.0

MEDIA_TYPE = "application/json"

#: OpenAPI of the body.
REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        MEDIA_TYPE: {
            "schema": {
                "type": "object",
                "required": ["names"],
                "additionalProperties": False,
                "properties": {
                    "names": {
                        "type": "array",
                        "maxItems": MOST_NAMES,
                        "items": {"type": "string", "maxLength": MOST_CHARACTERS},
                        "description": "The names to look up",
                    }
                },
            },
            "example": {"names": ["foo", "bar"]},
        }
    },
}


class _Names(msgspec.Struct, forbid_unknown_fields=True):
    names: Annotated[
        list[Annotated[str, msgspec.Meta(max_length=MOST_CHARACTERS)]], msgspec.Meta(max_length=MOST_NAMES)
    ]


_decoder = msgspec.json.Decoder(_Names)


@asynccontextmanager
async def names_of(request: Request, *, memory: Memory) -> AsyncIterator[list[str]]:
    """Read the body `{"names": [...]}`, and hold its bytes in `memory` while they are in use.

    Raises ProblemError for what is no such body, NoRoom.
    """
    _raise_unless_json(request)
    body = bytearray()
    with memory.claim() as claim:
        try:
            async with asyncio.timeout(MOST_SECONDS):
                async for part in request.stream():
                    body += part
                    if len(body) > MOST_BYTES:
                        raise ProblemError(BODY_TOO_LARGE, f"it has over {MOST_BYTES:,} bytes, all that are read")
                    claim.grow_to(2 * len(body))  # once more as names
        except TimeoutError:
            raise ProblemError(BODY_TOO_SLOW, f"it was not there after {MOST_SECONDS:.0f} s") from None
        except ClientDisconnect:
            raise ProblemError(MALFORMED_BODY, "the connection was closed in the middle of it") from None
        yield _decoded(bytes(body))


def _raise_unless_json(request: Request) -> None:
    media_type, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    charset = re.search(r"""charset\s*=\s*["']?([\w-]+)""", parameters)
    if media_type.strip() != MEDIA_TYPE or (charset is not None and charset[1] not in ("utf-8", "utf8")):
        raise ProblemError(
            UNSUPPORTED_BODY,
            f"send JSON in UTF-8, with the header Content-Type: {MEDIA_TYPE}; given: {media_type.strip() or 'none'!r}",
            headers={"Accept": MEDIA_TYPE},
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProblemError(UNSUPPORTED_BODY, "send it as it is, not compressed", headers={"Accept": MEDIA_TYPE})


def _decoded(body: bytes) -> list[str]:
    try:
        found = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise WrongParameters([_wrong(str(error))]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProblemError(MALFORMED_BODY, f'send {{"names": ["foo", "bar"]}}; {error}') from None
    return found.names


def _wrong(said: str) -> tuple[str, str]:
    """Return which field is wrong, of what msgspec says of it, and what would be right."""
    if (unknown := re.search("unknown field `(.*?)`", said)) is not None:
        return unknown[1], 'there is no such field here; the body is {"names": [...]}'
    return "names", f'a list of at most {MOST_NAMES} names, as in {{"names": ["foo", "bar"]}}; {said}'
