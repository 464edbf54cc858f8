#!/usr/bin/env python3
"""Write docs/reference: the settings, commands and endpoints, as the code has them.

    python scripts/reference.py             write the pages anew, as `make reference` does
    python scripts/reference.py --check     write nothing; exit with 1 if a page is not what the code says, and say how

Everything on these pages is text of the code: the descriptions in tally/settings/, the help of the commands in
tally/cli, the OpenAPI documents of the api and of the http source. Change it there.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"

NOTICE = "<!-- Made by `make reference` from {source}. Change it there, not here. -->\n\n"

#: The headings of settings.md, each with the setting that it stands in front of. The settings keep the order of
#: tally/settings/, so a new one falls under the heading of its neighbours.
GROUPS = {
    "redis_url": "Redis",
    "source": "Sources, blocks and the backlog",
    "max_connections": "Sources that listen",
    "windows": "Counts",
    "fold_case": "Words",
    "type_field": "Fields",
    "claim_idle_seconds": "Aggregators",
    "http_host": "The api",
    "log_level": "Log",
}

SETTINGS_HEAD = """\
# Settings

Environment variables, or lines of a `.env` file in the folder where a command is started; the environment wins over
`.env`. Each setting may also come from a file: `TALLY_API_TOKEN_FILE=/run/secrets/token` sets `TALLY_API_TOKEN` to what
that file holds. A setting that cannot be used ends the command with exit code 2 and a sentence that says what would be
right.
"""

ENDPOINTS_HEAD = """\
# Endpoints

The api (`tally serve`, port 9090) answers questions; the http source (`http://HOST:PORT` as a source) takes events.
Both serve this as `/openapi.json`, and the api as a page at `/docs`. [api.md](../api.md) tells how to ask, and
[network-sources.md](../network-sources.md) how to send.
"""


def main() -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description="Write docs/reference, as the code has it.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page differs")
    check = parser.parse_args().check
    for variable in [each for each in os.environ if each.startswith("TALLY_")]:
        del os.environ[variable]
    differ = False
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # in which no .env lies
        pages = {"settings.md": settings(), "commands.md": commands(), "endpoints.md": endpoints()}
    for name, text in pages.items():
        path = FOLDER / name
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before == text:
            continue
        differ = True
        if check:
            lines = difflib.unified_diff(
                before.splitlines(), text.splitlines(), name, f"{name}, as the code has it", n=0
            )
            print("\n".join(list(lines)[:40]))
        else:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"docs/reference/{name} is written anew")
    if check and differ:
        print("docs/reference is not what the code says: run `make reference`, and commit what it writes")
    return int(check and differ)


# Settings


def settings() -> str:
    """A table for each group of settings, from the fields of the class Settings."""
    from tally.settings import PREFIX, Settings

    unknown = GROUPS.keys() - Settings.model_fields.keys()
    assert not unknown, f"GROUPS in scripts/reference.py names what is no setting: {unknown}"
    parts = [
        NOTICE.format(source="tally/settings/"),
        SETTINGS_HEAD,
    ]
    for name, field in Settings.model_fields.items():
        if name in GROUPS:
            parts.append(
                f"\n## {GROUPS[name]}\n\n| variable | default | may be | what it is |\n| --- | --- | --- | --- |\n"
            )
        default = "" if field.default in (None, "") else f"`{_cell(_written(field.default))}`"
        parts.append(
            f"| `{PREFIX}{name.upper()}` | {default} | {_may_be(field)} | {_cell(field.description or '')} |\n"
        )
    return "".join(parts)


def _written(default: object) -> str:
    """The value as it is written into a `.env`."""
    return str(default).lower() if isinstance(default, bool) else str(default)


def _may_be(field: Any) -> str:
    """The bounds of a number, the words to choose from; of text the description says it."""
    types = {each for each in (field.annotation, *get_args(field.annotation)) if each is not type(None)}
    if bool in types:
        return "`true`, `false`"
    literals = [field.annotation, *get_args(field.annotation)]  # Literal[…], or Literal[…] | None
    choices = [word for each in literals for word in get_args(each) if isinstance(word, str)]
    if choices:
        return ", ".join(f"`{each}`" for each in choices)
    bounds = {
        side: getattr(each, side) for each in field.metadata for side in ("ge", "gt", "le", "lt") if hasattr(each, side)
    }
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    if low is not None and high is not None:
        return f"{'over ' if 'gt' in bounds else ''}{low:,} to {high:,}"
    return ""


# Commands


def commands() -> str:
    """What Typer's own generator makes of the application, with whole sentences in the list of commands."""
    from typer.main import get_command

    from tally.cli.app import app

    done = subprocess.run(
        [sys.executable, "-m", "typer", "tally.cli.app", "utils", "docs", "--name", "tally", "--title", "Commands"],
        capture_output=True,
        check=True,
        encoding="utf-8",
        env={**os.environ, "TERM": "dumb", "COLUMNS": "120", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
    )
    text = re.sub(r"…([\]}])\.\.\.$", r"…\1", done.stdout, flags=re.MULTILINE)  # SOURCE… says it already
    commands = get_command(app).commands  # type: ignore[attr-defined]

    def whole(line: re.Match[str]) -> str:
        name = line[1]
        first = " ".join((commands[name].help or "").split("\n\n")[0].split())
        return f"* [`{name}`](#tally-{name}): {first}"

    text = re.sub(rf"^\* `({'|'.join(commands)})`: .*$", whole, text, flags=re.MULTILINE)
    return NOTICE.format(source="the commands in tally/cli") + text.strip() + "\n"


# Endpoints


def endpoints() -> str:
    """The OpenAPI documents of the two HTTP services, to be read by people."""
    parts = [
        NOTICE.format(source="the OpenAPI documents of the api and of the http source"),
        ENDPOINTS_HEAD,
    ]
    for title, document in (("The api", _api()), ("The http source", _http_source())):
        parts += _document(title, document)
    return "".join(parts)


def _api() -> dict[str, Any]:
    from api.app import create_app
    from tally.settings import Settings

    # With a token, so that what it brings is there.
    return create_app(Settings(redis_url="redis://127.0.0.1:1/0", api_token="token")).openapi()


def _http_source() -> dict[str, Any]:
    from ingestor.http_app import create_app
    from tally.keys import Keys
    from tally.settings import Settings
    from tally.store import IngestorStore, connect

    async def document() -> dict[str, Any]:
        settings = Settings()
        redis = connect("redis://127.0.0.1:1/0", timeout_seconds=1)  # it is never asked anything
        store = IngestorStore(redis, keys=Keys(), settings=settings)
        found = create_app(settings, store=store, label="http://127.0.0.1:8080", ready=asyncio.Event()).openapi()
        await redis.aclose()
        return found

    return asyncio.run(document())


def _document(title: str, document: Mapping[str, Any]) -> Iterator[str]:
    yield f"\n# {title}\n"
    everywhere = _everywhere(document)
    if everywhere:
        yield "\nWhat every endpoint but those of health and the pages may answer, too:\n\n"
        yield from _answers(everywhere, prefix=_slug(title))
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            what = operation.get("description", operation.get("summary", ""))
            yield f"\n## {method.upper()} {path}\n\n{what.strip()}\n"
            yield from _parameters(operation.get("parameters", ()))
            if (body := operation.get("requestBody")) is not None:
                yield f"\nBody: {', '.join(f'`{kind}`' for kind in body['content'])}.\n"
            yield "\n"
            own = {status: each for status, each in operation["responses"].items() if everywhere.get(status) != each}
            yield from _answers(own, prefix=_slug(title))
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        if "properties" in schema:
            yield from _shape(name, schema, prefix=_slug(title))


def _everywhere(document: Mapping[str, Any]) -> dict[str, Any]:
    """Problems that all of the guarded endpoints have alike: said once."""
    guarded = [each for methods in document["paths"].values() for each in methods.values() if each.get("security")]
    if len(guarded) < 2:
        return {}
    first = guarded[0]["responses"]
    return {
        status: answer
        for status, answer in first.items()
        if status.startswith("4") and all(each["responses"].get(status) == answer for each in guarded)
    }


def _parameters(parameters: Any) -> Iterator[str]:
    if not parameters:
        return
    yield "\n| parameter | in | is | default | what it is |\n| --- | --- | --- | --- | --- |\n"
    for each in parameters:
        schema = each["schema"]
        default = f"`{_cell(str(schema['default']))}`" if schema.get("default") not in (None, []) else ""
        if each.get("required"):
            default = "required"
        what = _cell(each.get("description", ""))
        yield f"| `{each['name']}` | {each['in']} | {_type(schema)} | {default} | {what} |\n"


def _answers(responses: Mapping[str, Any], *, prefix: str) -> Iterator[str]:
    yield "| answer | as | what it is |\n| --- | --- | --- |\n"
    for status, answer in sorted(responses.items()):
        kinds = []
        for kind, content in answer.get("content", {}).items():
            shape = _type(content.get("schema", {}), prefix=prefix)
            kinds.append(f"`{kind}`: {shape}" if "[" in shape else f"`{kind}`")
        text = "" if answer["description"] == "Successful Response" else _cell(answer["description"])
        yield f"| {status} | {'<br>'.join(kinds)} | {text} |\n"
        for content in answer.get("content", {}).values():
            if status.startswith("2") and isinstance(content.get("example"), dict):
                example = json.dumps(content["example"], ensure_ascii=False)
                yield f"| | | for example `{_cell(example)}` |\n"


def _shape(name: str, schema: Mapping[str, Any], *, prefix: str) -> Iterator[str]:
    yield f'\n### <a id="{prefix}-{name}"></a>{name}\n\n'
    if schema.get("description"):
        yield f"{schema['description'].strip()}\n\n"
    yield "| member | is | what it is |\n| --- | --- | --- |\n"
    required = schema.get("required", ())
    for member, each in schema["properties"].items():
        optional = "" if member in required else ", may be missing"
        yield f"| `{member}` | {_type(each, prefix=prefix)}{optional} | {_cell(each.get('description', ''))} |\n"


def _type(schema: Mapping[str, Any], *, prefix: str = "") -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{prefix}-{name})"
    if "anyOf" in schema:
        return " or ".join(
            dict.fromkeys(_type(each, prefix=prefix) for each in schema["anyOf"] if each != {"type": "null"})
        ) + (" or null" if {"type": "null"} in schema["anyOf"] and prefix else "")
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}), prefix=prefix) or 'anything'}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'], prefix=prefix)}"
    kind = schema.get("type", "")
    text = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if "minimum" in schema and "maximum" in schema:
        text += f", {schema['minimum']:,} to {schema['maximum']:,}"
    if "maxLength" in schema:
        text += f", {schema['maxLength']:,} characters at the most"
    if "pattern" in schema:
        text += f", `{_cell(schema['pattern'])}`"
    return text


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")


def _cell(text: str) -> str:
    """Text for a cell of a table: one line, paragraphs apart."""
    paragraphs = [" ".join(each.split()) for each in text.strip().split("\n\n")]
    return "<br>".join(paragraphs).replace("|", "\\|")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    raise SystemExit(main())
