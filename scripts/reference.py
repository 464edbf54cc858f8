#!/usr/bin/env python3
"""Write docs/reference: settings, commands, endpoints, metrics, as the code has them; and what of it is in deploy.

    python scripts/reference.py             write the pages anew, as `make reference` does
    python scripts/reference.py --check     write nothing; exit with 1 if a page is not what the code says, and say how

Everything on these pages is text of the code: the descriptions in tally/settings/, the help of the commands in
tally/cli, the OpenAPI documents of the api and of the http source, the metrics.py of each service. Change it there.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import importlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

from chart_files import chart_files
from metric_list import described
from openapi_markdown import as_markdown, cell

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
    "metrics_port": "Metrics and health",
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


#: The headings of metrics.md, each with the module whose metrics stand under it.
METRICS = {
    "Every service": "tally.metrics",
    "The ingestor": "ingestor.metrics",
    "The aggregator": "aggregator.metrics",
    "The api": "api.metrics",
}

METRICS_HEAD = """\
# Metrics

The api serves them at `/metrics` of its port, behind `TALLY_API_TOKEN` if that is set; an ingestor and an aggregator at
`/metrics` of `TALLY_METRICS_PORT`, if that is. Besides these each has the process's own: `process_…`, `python_gc_…`,
`python_info`. A histogram is three series, as Prometheus has them: `…_bucket`, `…_sum` and `…_count`.
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
        pages = {
            "settings.md": settings(),
            "commands.md": commands(),
            "endpoints.md": endpoints(),
            "metrics.md": metrics(),
        }
        files = {FOLDER / name: text for name, text in pages.items()} | chart_files()
        files[ROOT / "deploy" / "redis" / "users.acl"] = users()
    for path, text in files.items():
        name = str(path.relative_to(ROOT))
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
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"{name} is written anew")
    if check and differ:
        print("docs/reference, or deploy, is not what the code says: run `make reference`, and commit what it writes")
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
        default = "" if field.default in (None, "") else f"`{cell(_written(field.default))}`"
        parts.append(f"| `{PREFIX}{name.upper()}` | {default} | {_may_be(field)} | {cell(field.description or '')} |\n")
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
    lines = text.splitlines()
    group: Any = get_command(app)
    for at, line in enumerate(lines):
        if heading := re.fullmatch(r"#+ `tally ([\w -]+)`", line):
            group = get_command(app)
            for name in heading[1].split():
                group = group.commands[name]
        elif (command := re.match(r"\* `([\w-]+)`: ", line)) and command[1] in getattr(group, "commands", ()):
            name = f"{group.name}-{command[1]}" if group.name != "tally" else command[1]
            first = " ".join((group.commands[command[1]].help or "").split("\n\n")[0].split())
            lines[at] = f"* [`{command[1]}`](#tally-{name}): {first}"
    text = "\n".join(lines)
    return NOTICE.format(source="the commands in tally/cli") + text.strip() + "\n"


# Endpoints


def endpoints() -> str:
    """The OpenAPI documents of the two HTTP services, to be read by people."""
    parts = [
        NOTICE.format(source="the OpenAPI documents of the api and of the http source"),
        ENDPOINTS_HEAD,
    ]
    for title, document in (("The api", _api()), ("The http source", _http_source())):
        parts += as_markdown(title, document)
    return "".join(parts)


def _api() -> dict[str, Any]:
    from api.app import create_app
    from tally.settings import Settings

    # With a token, so that what it brings is there.
    settings = Settings(redis_url="redis://127.0.0.1:1/0", api_token="token")  # nosec B106 # it is none
    return create_app(settings).openapi()


def _http_source() -> dict[str, Any]:
    from ingestor.http_app import create_app
    from tally.keys import Keys
    from tally.settings import Settings
    from tally.store import IngestorStore, connect

    async def document() -> dict[str, Any]:
        settings = Settings()
        redis = connect("redis://127.0.0.1:1/0", timeout_seconds=1)  # it is never asked anything
        store = IngestorStore(redis, keys=Keys(), settings=settings)
        found = create_app(settings, stores=[store], label="http://127.0.0.1:8080", ready=asyncio.Event()).openapi()
        await redis.aclose()
        return found

    return asyncio.run(document())


# Metrics


def metrics() -> str:
    """A table for each module with metrics, from the objects in it."""
    parts = [NOTICE.format(source="the modules metrics.py"), METRICS_HEAD]
    for title, name in METRICS.items():
        parts.append(f"\n## {title}\n\n| metric | type | labels | what it tells |\n| --- | --- | --- | --- |\n")
        for metric in described(importlib.import_module(name)):
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            parts.append(f"| `{metric.name}` | {metric.type} | {labels} | {cell(metric.help)} |\n")
    return "".join(parts)


# Users


def users() -> str:
    """Redis' file of users, without their passwords."""
    from tally.store.users import acl_file

    return acl_file()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    raise SystemExit(main())
