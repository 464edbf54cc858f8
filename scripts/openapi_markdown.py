"""An OpenAPI document as Markdown: each path with its parameters, its answers and its problems, then the shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def as_markdown(title: str, document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text of an OpenAPI 3.1 document, in pieces, under a heading with this title."""
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
        default = f"`{cell(str(schema['default']))}`" if schema.get("default") not in (None, []) else ""
        if each.get("required"):
            default = "required"
        what = cell(each.get("description", ""))
        yield f"| `{each['name']}` | {each['in']} | {_type(schema)} | {default} | {what} |\n"


def _answers(responses: Mapping[str, Any], *, prefix: str) -> Iterator[str]:
    yield "| answer | as | what it is |\n| --- | --- | --- |\n"
    for status, answer in sorted(responses.items()):
        kinds = []
        for kind, content in answer.get("content", {}).items():
            shape = _type(content.get("schema", {}), prefix=prefix)
            kinds.append(f"`{kind}`: {shape}" if "[" in shape else f"`{kind}`")
        text = "" if answer["description"] == "Successful Response" else cell(answer["description"])
        yield f"| {status} | {'<br>'.join(kinds)} | {text} |\n"
        for content in answer.get("content", {}).values():
            if status.startswith("2") and isinstance(content.get("example"), dict):
                example = json.dumps(content["example"], ensure_ascii=False)
                yield f"| | | for example `{cell(example)}` |\n"


def _shape(name: str, schema: Mapping[str, Any], *, prefix: str) -> Iterator[str]:
    yield f'\n### <a id="{prefix}-{name}"></a>{name}\n\n'
    if schema.get("description"):
        yield f"{schema['description'].strip()}\n\n"
    yield "| member | is | what it is |\n| --- | --- | --- |\n"
    required = schema.get("required", ())
    for member, each in schema["properties"].items():
        optional = "" if member in required else ", may be missing"
        yield f"| `{member}` | {_type(each, prefix=prefix)}{optional} | {cell(each.get('description', ''))} |\n"


def _type(schema: Mapping[str, Any], *, prefix: str = "") -> str:
    """A schema in a few words; in its own, where it has some."""
    if "x-written" in schema:
        return str(schema["x-written"])
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
        text += f", `{cell(schema['pattern'])}`"
    return text


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")


def cell(text: str) -> str:
    """Return text for a cell of a table: one line, paragraphs apart."""
    paragraphs = [" ".join(each.split()) for each in text.strip().split("\n\n")]
    return "<br>".join(paragraphs).replace("|", "\\|")
