"""Answers with problem details. Apart from `problems`, because what serves without FastAPI gives them, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tally.store import StoreUnavailable
from tally.web import problem_types as types
from tally.web.problem_types import ProblemType, problem_members

MEDIA_TYPE = "application/problem+json"

#: Where in the state of a request it is left why it was refused, to be measured: the type of the problem.
REASON = "refused"

#: When a client may ask again while Redis is unavailable, in seconds.
RETRY_AFTER_SECONDS = 1


class ProblemResponse(Response):
    """An answer with problem details."""

    media_type = MEDIA_TYPE

    def __init__(self, members: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> None:
        self._members = members
        super().__init__(b"", members["status"], headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Under a path of a proxy the page of the type is under that path, too."""
        type_ = self._members["type"]
        scope.setdefault("state", {})[REASON] = type_.removeprefix(types.PATH).replace("-", "_")
        if type_.startswith("/"):
            type_ = scope.get("app_root_path", scope.get("root_path", "")) + type_
        self.body = msgspec.json.encode({**self._members, "type": type_})
        self.headers["content-length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


def problem(
    type_: ProblemType, detail: str | None = None, *, headers: Mapping[str, str] | None = None, **members: Any
) -> ProblemResponse:
    """Return a response with problem details."""
    return ProblemResponse(problem_members(type_, detail, **members), headers=headers)


def unavailable(error: StoreUnavailable) -> ProblemResponse:
    """Return 503, and when to ask again. Does not say where Redis is."""
    return problem(types.REDIS_UNAVAILABLE, error.public, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
