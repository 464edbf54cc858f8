"""Refused requests are logged now and then, with who sent them, and with nothing that is secret."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from tally.web.cross_site import Allowed, CrossSite
from tally.web.log_events import REQUEST_REFUSED
from tally.web.problem_answers import ProblemResponse
from tally.web.problem_types import CROSS_SITE_REQUEST, HOST_NOT_ALLOWED
from tally.web.refusals import LogRefusals
from tests.fakes import FakeClock


async def answer(request: Request) -> Response:
    """What is asked for."""
    status = int(request.query_params["status"])
    if status == 400:
        return PlainTextResponse("no problem details", status_code=status)
    return ProblemResponse({"type": "about:blank", "title": "Refused", "status": status, "detail": "given: s3cret"})


async def logged(path: str, *statuses: int) -> list[Any]:
    app = LogRefusals(Starlette(routes=[Route("/{path:path}", answer)]), clock=FakeClock(), source="http://a")
    transport = httpx.ASGITransport(app=app, client=("192.0.2.7", 1234))
    with capture_logs() as logs:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for status in statuses:
                assert (await client.get(path, params={"status": status, "token": "s3cret"})).status_code == status
    return logs


async def test_a_refusal_is_logged_with_who_sent_it_and_without_what_is_secret() -> None:
    (log,) = await logged("/v1/%1b[31mtypes", 401)
    assert log == {
        "event": f"{REQUEST_REFUSED} with 401",
        "log_level": "warning",
        "title": "Refused",
        "method": "GET",
        "path": "/v1/\N{REPLACEMENT CHARACTER}[31mtypes",
        "peer": "192.0.2.7",
        "source": "http://a",
        "times": 1,
    }


async def test_a_flood_of_one_kind_is_one_line_and_hides_no_other_kind() -> None:
    logs = await logged("/a", *[401] * 1000, 415, *[401] * 1000, 400)
    assert [each["event"].rpartition(" ")[2] for each in logs] == ["401", "415", "400"]


async def test_what_a_browser_was_refused_is_logged_once_with_what_it_said() -> None:
    allowed = Allowed(frozenset(), frozenset(), origins_setting="TALLY_ORIGINS", hosts_setting="TALLY_HOSTS")
    app = LogRefusals(CrossSite(Starlette(routes=[Route("/{path:path}", answer)]), allowed=allowed))
    transport = httpx.ASGITransport(app=app, client=("192.0.2.7", 1234))
    with capture_logs() as logs:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            other_site = await client.get("/a", headers={"Origin": "https://evil.example"})
            other_name = await client.get("/b", headers={"Host": "evil.example"})
    assert (other_site.status_code, other_name.status_code) == (403, 421)
    assert [(log["event"], log["title"], log["path"], log["peer"], log.get("origin"), log["host"]) for log in logs] == [
        (
            f"{REQUEST_REFUSED} with 403",
            CROSS_SITE_REQUEST.title,
            "/a",
            "192.0.2.7",
            "https://evil.example",
            "localhost",
        ),
        (f"{REQUEST_REFUSED} with 421", HOST_NOT_ALLOWED.title, "/b", "192.0.2.7", None, "evil.example"),
    ]


@pytest.mark.parametrize("status", [200, 202, 304, 404, 429, 500, 503])
async def test_what_is_no_refusal_is_not_logged(status: int) -> None:
    assert await logged("/a", status) == []
