"""What of the Helm chart is made of the code: which settings its values may have, and what KEDA is to ask of Redis."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "helm" / "tally"

#: Settings that the chart makes of other values, so that they fit its Services, Secrets and volumes.
BY_OTHER_VALUES = frozenset(
    {
        *("redis_url", "redis_tls_ca_path", "redis_tls_certificate_path", "redis_tls_key_path", "namespace", "shards"),
        *("source", "ingest_token", "ingest_allowed_hosts", "tls_certificate_path", "tls_key_path"),
        *("http_host", "http_port", "api_token", "allowed_hosts", "metrics_host", "metrics_port"),
        "data_dir",  # of `tally up`, which no container runs
    }
)

#: What of a setting's JSON schema a chart's schema has, too.
_KEPT = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def chart_files() -> dict[Path, str]:
    """Return the text of each file, by its path."""
    return {FOLDER / "values.schema.json": _values_schema(), FOLDER / "files" / "streams.json": _streams()}


def _values_schema() -> str:
    """Return the schema with the settings as they are; all else in it is written by hand."""
    from tally.settings import PREFIX, Settings

    schema = json.loads((FOLDER / "values.schema.json").read_text(encoding="utf-8"))
    schema["definitions"]["settings"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            PREFIX + name.upper(): _setting(field)
            for name, field in Settings.model_json_schema()["properties"].items()
            if name not in BY_OTHER_VALUES
        },
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _setting(field: dict[str, Any]) -> dict[str, Any]:
    """Return what a value may be: as the setting's type, or as the text that the environment would have."""
    kinds = [{key: kind[key] for key in _KEPT if key in kind} for kind in field.get("anyOf", [field])]
    kinds = [kind for kind in kinds if kind["type"] != "null"]
    if all(kind["type"] != "string" for kind in kinds):
        kinds.append({"type": "string"})
    kinds.append({"type": "null"})  # takes away one that was given before
    return {"description": field["description"], "anyOf": kinds}


def _streams() -> str:
    """Return the key of a stream, with NAMESPACE and TAG in their places, and the tags for each number of shards."""
    from tally.keys import Keys
    from tally.shards import HOME_TAG, MOST_SHARDS, tags

    stream = Keys(HOME_TAG, "NAMESPACE").stream.replace(str(HOME_TAG), "TAG")
    lines = [f'    "{shards}": {json.dumps(tags(shards))}' for shards in range(1, MOST_SHARDS + 1)]
    return f'{{\n  "stream": {json.dumps(stream)},\n  "tags": {{\n' + ",\n".join(lines) + "\n  }\n}\n"
