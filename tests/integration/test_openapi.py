"""The OpenAPI document is true: whatever is sent, no answer that it does not know, and no server error."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from tally.settings import Settings
from tests.integration.test_query_api import api, count, lines_of_now
from tests.server import Server

CHECKS: list[CheckFunction] = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]

TOKEN = {"Authorization": "Bearer geheim"}

#: Where no token is needed.
OPEN = {"/healthz", "/readyz"}

#: What has forms of its own, and is never told to be unchanged.
NOT_JSON = {"/v1/live", "/metrics"}

#: Examples of parameters that a path cannot do without.
REQUIRED: dict[str, dict[str, Any]] = {
    "/v1/types:lookup": {"name": "foo"},
    "/v1/words:lookup": {"name": "lorem"},
    "/v1/words:series": {"name": "lorem"},
}


@pytest.fixture(scope="module")
def client(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client with the token of an api that asks for one."""
    with api(shared_server, tmp_path_factory.mktemp("openapi"), TALLY_API_TOKEN="geheim") as client:
        with shared_server.client() as redis:
            redis.flushall()
        count(shared_server, lines_of_now(), words_by_type="foo")
        client.headers.update(TOKEN)
        yield client


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> Any:
    return client.get("/openapi.json").json()


#: Examples that are of use only with another parameter.
NEEDS: dict[str, dict[str, Any]] = {
    "2026-11-23T15:00:00+01:00": {"from": 0},
    "now": {"from": 0},
    "previous": {"window": "1h"},
    "change": {"window": "1h", "compare": "previous"},
}


def operations(document: Any) -> list[tuple[str, str, Any]]:
    """Every path with every method that it takes, and what is said of that."""
    return [
        (path, method.upper(), operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def responses(document: Any, path: str, method: str = "GET") -> Any:
    return document["paths"][path][method.lower()]["responses"]


def address(path: str) -> str:
    return path.replace("{name}", "lorem" if "words" in path else "foo")


def ask(client: httpx.Client, path: str, method: str, operation: Any, **rest: Any) -> httpx.Response:
    """Ask as the document says: what has a body gets the example, and needs no parameters."""
    if (body := operation.get("requestBody")) is not None:
        rest["json"] = body["content"]["application/json"]["example"]
    else:
        rest["params"] = REQUIRED.get(path, {}) | rest.get("params", {})
    return client.request(method, address(path), **rest)


def assert_documented(document: Any, path: str, answer: httpx.Response) -> None:
    """The document has an answer with this status, in this form."""
    documented = responses(document, path, answer.request.method)
    assert str(answer.status_code) in documented, (path, answer.status_code, answer.text)
    forms = documented[str(answer.status_code)].get("content", {})
    if answer.status_code == 304:
        assert not forms
    else:
        assert answer.headers["content-type"].partition(";")[0] in forms, path


@pytest.mark.slow
def test_every_answer_is_documented(client: httpx.Client) -> None:
    """Schemathesis makes the requests, good and bad ones; every operation of the document gets its share."""
    schema = schemathesis.openapi.from_url(str(client.base_url.join("openapi.json")), headers=TOKEN)
    tried = []
    found: Any
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == "/v1/live":
            continue  # it never ends; it has tests of its own

        @given(case=operation.as_strategy())
        @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def answers_as_documented(case: Any) -> None:
            case.call_and_validate(checks=CHECKS, headers=TOKEN)

        answers_as_documented()
        tried.append(operation.path)
    assert {"/v1/types", "/v1/words/{name}", "/v1/words:series", "/events/CountWords", "/readyz"} <= set(tried)


#: What no schema can say of a parameter: it contradicts another one, or the time, or is of a language of its own.
BEYOND_SCHEMAS: dict[str, str] = {
    "window": "give either window or from and to",
    "from": "to needs a from|it must be before to|without to, it must be before now",
    "compare": "all time has nothing before it",
    "order": "by change needs compare=previous",
    "step": "counts are kept in windows of|that makes over",
    "regex": "it is no regular expression of RE2",
    "name": "two are spellings of the same word",
    "cursor": "it is none that was given here",
    "offset": "a cursor leads to a place of its own",
}


@pytest.mark.slow
def test_what_the_schema_of_each_parameter_allows_is_answered(client: httpx.Client) -> None:
    """Schemathesis makes requests that are valid; what is refused all the same must be beyond what a schema can say."""
    schema = schemathesis.openapi.from_url(str(client.base_url.join("openapi.json")), headers=TOKEN)
    answered: Counter[str] = Counter()
    found: Any
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == "/v1/live":
            continue

        @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def is_answered(case: Any) -> None:
            answer = case.call(headers=TOKEN)
            if answer.status_code == 422:
                for error in answer.json()["errors"]:
                    beyond = BEYOND_SCHEMAS.get(error["parameter"])
                    assert beyond is not None, (case.as_curl_command(), error)
                    assert re.search(beyond, error["detail"]), (case.as_curl_command(), error)
            else:
                # Whether there is such a name, or a list is still held, no schema says.
                assert answer.status_code in (200, 404, 410), (case.as_curl_command(), answer.text)
                answered[case.method + " " + case.path] += answer.status_code == 200

        is_answered()
    assert {path for path, times in answered.items() if not times} <= {
        f"GET /v1/{kind}{what}" for kind in ("types", "words") for what in ("/{name}", ":lookup")
    }


def test_the_token_is_documented_where_it_is_asked_for(client: httpx.Client, document: Any) -> None:
    (scheme,) = document["components"]["securitySchemes"]
    assert document["components"]["securitySchemes"][scheme]["scheme"] == "bearer"
    for path, method, operation in operations(document):
        answer = httpx.request(method, client.base_url.join(address(path)))
        assert_documented(document, path, answer)
        assert (answer.status_code == 401) is (path not in OPEN), path
        assert operation.get("security", []) == ([] if path in OPEN else [{scheme: []}]), path
        assert ("401" in operation["responses"]) is (path not in OPEN), path


def test_without_a_token_none_is_documented() -> None:
    text = json.dumps(create_app(Settings(redis_url="redis://127.0.0.1:1/0")).openapi())
    assert not {"security", "securitySchemes"} & set(json.loads(text)["components"])
    assert '"401"' not in text


def test_an_answer_is_documented_that_the_client_has_already(client: httpx.Client, document: Any) -> None:
    unchanged = set()
    for path, method, operation in operations(document):
        if path not in OPEN | NOT_JSON:
            answer = ask(client, path, method, operation, headers={"If-None-Match": "*"})
            assert_documented(document, path, answer)
            unchanged.add((method, answer.status_code))
    assert unchanged == {("GET", 304), ("POST", 200)}


def test_an_unknown_parameter_is_documented_wherever_it_is_an_error(client: httpx.Client, document: Any) -> None:
    for path, method, operation in operations(document):
        if path not in OPEN:
            answer = ask(client, path, method, operation, params={"x": "1"})
            assert answer.status_code == 422, path
            assert_documented(document, path, answer)
    assert not {"HTTPValidationError", "ValidationError"} & set(document["components"]["schemas"])


def test_every_form_that_is_promised_is_given(client: httpx.Client, document: Any) -> None:
    for path, method, operation in operations(document):
        promised = operation["responses"]["200"]["content"]
        assert path in NOT_JSON or next(iter(promised)) == "application/json", "generated clients take the first form"
        for form, described in promised.items():
            if path == "/v1/live":
                continue
            answer = ask(client, path, method, operation, headers={"Accept": form})
            assert answer.headers["content-type"].partition(";")[0] == form, path
            if form == "text/csv":
                heading, *rows = csv.reader(io.StringIO(described["example"]))
                assert [heading] == list(csv.reader(io.StringIO(answer.text)))[:1], path
                assert rows, path
    both = {"application/json", "text/csv", "application/x-ndjson"}
    lists = {each[:2] for each in operations(document) if set(each[2]["responses"]["200"]["content"]) == both}
    assert {path for path, method in lists if method == "POST"} == {"/v1/types:lookup", "/v1/words:lookup"}
    assert {path for path, method in lists if method == "GET"} == {
        "/v1/accepted",
        "/v1/rejected",
        "/v1/sources",
        *(f"/v1/{kind}{what}" for kind in ("types", "words") for what in ("", ":series", ":trending")),
    }


def test_every_parameter_and_answer_has_a_true_example(client: httpx.Client, document: Any) -> None:
    for path, method, operation in operations(document):
        for parameter in operation.get("parameters", []):
            examples = parameter["schema"].get("examples")
            assert examples, f"{parameter['name']} of {path}"
            for example in [*examples, parameter["schema"].get("default", examples[0])]:
                assert jsonschema_rs.is_valid(parameter["schema"], example), (path, parameter["name"], example)
                if parameter["in"] == "query":
                    params = NEEDS.get(example if isinstance(example, str) else "", {}) | {parameter["name"]: example}
                    how = "HEAD" if path == "/v1/live" else method  # of which the body never ends
                    assert ask(client, path, how, operation, params=params).status_code == 200, (path, params)
        for status, answer in operation["responses"].items():
            for form, described in answer.get("content", {}).items():
                schema = described.get("schema", {}) | {"components": document["components"]}
                name = schema.get("$ref", "").rpartition("/")[2]
                examples = document["components"]["schemas"].get(name, {}).get("examples", [])
                examples = [described["example"]] if "example" in described else examples
                assert examples, f"{form} of {path} {status}"
                if "schema" in described:
                    assert all(jsonschema_rs.is_valid(schema, example) for example in examples), (path, status, form)
