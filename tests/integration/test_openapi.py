"""The OpenAPI document is true: whatever is sent, no answer that it does not know, and no server error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.test_query_api import EVENTS, api, count
from tests.server import Server

CHECKS: list[CheckFunction] = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def schema_url(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with api(shared_server, tmp_path_factory.mktemp("openapi")) as client:
        with shared_server.client() as redis:
            redis.flushall()
        count(shared_server, EVENTS)
        yield str(client.base_url.join("openapi.json"))


def test_every_answer_is_documented(schema_url: str) -> None:
    """Schemathesis makes the requests, good and bad ones; every operation of the document gets its share."""
    schema = schemathesis.openapi.from_url(schema_url)
    tried = []
    found: Any
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == "/v1/live":
            continue  # it never ends; it has tests of its own

        @given(case=operation.as_strategy())
        @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def answers_as_documented(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)

        answers_as_documented()
        tried.append(operation.path)
    assert {"/v1/types", "/v1/words/{name}", "/v1/series", "/events/CountWords", "/readyz"} <= set(tried)
