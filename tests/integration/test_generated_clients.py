"""Clients that are generated from the OpenAPI document are of use: they are made, and ask a running api."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.test_query_api import api, count, lines_of_now
from tests.oracle import Expected
from tests.server import Server

ROOT = Path(__file__).parents[2]

#: Where `make assets` brings what the page is checked with.
GENERATOR, COMPILER = (ROOT / "node_modules" / each for each in ("openapi-typescript/bin/cli.js", "typescript/bin/tsc"))

#: Read here, because each test is run without the TALLY_ variables of the shell.
REQUIRED = os.environ.get("TALLY_REQUIRE_PACKAGES") == "1"

#: What makes the client in Python.
PYTHON_GENERATOR = "openapi-python-client==0.29.1"

#: What that client is used for, which the generated modules are imported for: types are attributes, none is a dict.
PYTHON_CLIENT = """
import json, sys

from tally_client import Client
from tally_client.api.all_counts import count_words
from tally_client.api.pipeline import get_stats
from tally_client.api.types import get_type, list_types, lookup_type
from tally_client.api.words import get_word_series, list_trending_words
from tally_client.models import Problem, RankingAnswer

with Client(base_url=sys.argv[1]) as tally:
    types = list_types.sync(client=tally, window="1h")
    assert isinstance(types, RankingAnswer), "JSON is what a client gets that asks for no form"
    assert types.to - types.from_ >= 3600
    foo = lookup_type.sync(client=tally, name="foo")
    same = get_type.sync("foo", client=tally)
    series = get_word_series.sync(client=tally, name=["lorem", "ipsum"], window="1h")
    status = get_stats.sync(client=tally)
    wrong = list_types.sync(client=tally, window="15", limit=0)
    missing = get_type.sync("never", client=tally)
    assert isinstance(wrong, Problem) and isinstance(missing, Problem)
    print(json.dumps({
        "types": {item.name: item.count for item in types.items},
        "total": types.total,
        "foo": [foo.count, foo.rank == same.rank and 0 < foo.first.total <= foo.count],
        "words": count_words.sync(client=tally).to_dict(),
        "series": [sum(each.counts) for each in series.series],
        "baseline": list_trending_words.sync(client=tally, limit=3).baseline.total,
        "status": [status.totals.events, status.aggregators_alive],
        "wrong": sorted(each.parameter for each in wrong.errors),
        "missing": [missing.type_, missing.status],
    }))
"""

#: A client in TypeScript: the generated types say what may be asked, and what is answered.
CLIENT = """
import type { paths } from "./api";

type Get<P extends keyof paths> = paths[P]["get"];
type Query<P extends keyof paths> = Get<P> extends { parameters: { query?: infer Q } } ? Q : never;
type Answer<P extends keyof paths> =
  Get<P> extends { responses: { 200: { content: { "application/json": infer A } } } } ? A : never;
type Problem<P extends keyof paths> =
  Get<P> extends { responses: { 422: { content: { "application/problem+json": infer A } } } } ? A : never;

const base = process.argv[2];

async function get<P extends keyof paths>(path: P, query: Query<P>): Promise<Answer<P>> {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, String(value));
  const response = await fetch(url);
  if (!response.ok) throw await response.json() as Problem<P>;
  return await response.json() as Answer<P>;
}

async function main(): Promise<void> {
  const types = await get("/v1/types", { limit: 10, order: "-count", window: "1h" });
  const counts = Object.fromEntries(types.items.map(({ name, count }) => [name, count]));
  const foo = await get("/v1/types:lookup", { name: "foo" });
  const first: number = foo.first?.from ?? 0;
  const status = await get("/v1/stats", undefined);
  const alive: number = status.aggregators_alive;
  const wrong = await get("/v1/types", { limit: 0 }).catch((problem: Problem<"/v1/types">) => problem.errors ?? []);
  console.log(JSON.stringify({ counts, total: types.total, first, alive, events: status.totals.events, wrong }));
}

void main();
"""


@pytest.fixture(scope="module")
def events() -> bytes:
    return lines_of_now()


@pytest.fixture(scope="module")
def client(shared_server: Server, events: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of an api in which these events are counted."""
    with api(shared_server, tmp_path_factory.mktemp("api")) as client:
        with shared_server.client() as redis:
            redis.flushall()
        count(shared_server, events)
        yield client


@pytest.fixture
def document(client: httpx.Client, tmp_path: Path) -> Path:
    """The OpenAPI document in a file."""
    path = tmp_path / "openapi.json"
    path.write_bytes(client.get("/openapi.json").content)
    return path


def run(*command: object, folder: Path) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, encoding="utf-8", check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.packages
@pytest.mark.slow
@pytest.mark.skipif(not REQUIRED, reason="needs a package index; to run it: TALLY_REQUIRE_PACKAGES=1")
def test_a_python_client(client: httpx.Client, events: bytes, document: Path, tmp_path: Path) -> None:
    # In an environment of its own: of a package that we need it takes older versions alone.
    tool = tmp_path / "tool"
    venv.create(tool, with_pip=True)
    run(tool / "bin/python", *("-m", "pip", "install", "--quiet", PYTHON_GENERATOR), folder=tmp_path)
    # JSON is YAML, too.
    (tmp_path / "config.yml").write_text(json.dumps({"post_hooks": [], "literal_enums": True}))
    said = run(
        tool / "bin/openapi-python-client",
        *("generate", "--path", document, "--config", "config.yml", "--meta", "none", "--output-path", "tally_client"),
        folder=tmp_path,
    )
    assert "warning" not in said.lower(), "it understands all of the document: " + said
    (tmp_path / "client.py").write_text(PYTHON_CLIENT)
    found = json.loads(run(tool / "bin/python", "client.py", client.base_url, folder=tmp_path))
    want = Expected.of(events.split(b"\n"))
    assert found == {
        "types": dict(want.types),
        "total": want.events,
        "foo": [want.types["foo"], True],
        "words": dict(want.words),
        "series": [want.words["lorem"], want.words["ipsum"]],
        "baseline": 0,
        "status": [want.events, 0],
        "wrong": ["limit", "window"],
        "missing": ["/problems/never-counted", 404],
    }


@pytest.mark.slow
def test_a_typescript_client(client: httpx.Client, events: bytes, document: Path, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or not GENERATOR.is_file() or not COMPILER.is_file():
        if REQUIRED:
            pytest.fail("neither node nor its packages are there, which TALLY_REQUIRE_PACKAGES=1 asks for: make assets")
        pytest.skip("needs node, and openapi-typescript and typescript in node_modules: make assets")
    (tmp_path / "client.ts").write_text(CLIENT)
    run(node, GENERATOR, document, "--output", "api.d.ts", folder=tmp_path)
    (tmp_path / "node.d.ts").write_text("declare const process: { argv: string[] };\n")
    options = ("--strict", "--target", "es2022", "--module", "commonjs", "--lib", "es2022,dom,dom.iterable")
    run(node, COMPILER, *options, "client.ts", "node.d.ts", folder=tmp_path)
    said = json.loads(run(node, "client.js", client.base_url, folder=tmp_path))
    want = Expected.of(events.split(b"\n"))
    assert said["counts"] == dict(want.types)
    assert (said["total"], said["events"], said["alive"]) == (want.events, want.events, 0)
    assert said["first"] % 60 == 0 < said["first"]
    assert [each["parameter"] for each in said["wrong"]] == ["limit"]
