"""The documents are true: what exists is documented, and what is documented exists."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from api.app import create_app
from tally.cli.app import app
from tally.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md"))
}


def test_every_variable_that_a_document_names_is_a_setting() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known}
    # Those of docker-compose.yml.
    known |= set(re.findall(r"\$\{(TALLY_\w+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    for name, text in DOCUMENTS.items():
        named = set(re.findall(r"TALLY_[A-Z_]*[A-Z]", text))
        of_tests = {each for each in named if each.startswith(("TALLY_TEST_", "TALLY_REQUIRE_"))}
        assert named - of_tests <= known, name


def test_every_path_of_the_api_that_a_document_names_exists() -> None:
    schema = create_app(Settings(redis_url="redis://127.0.0.1:1/0")).openapi()
    patterns = [re.sub(r"\\{\w+\\}", "[^/]*", re.escape(path)) for path in schema["paths"]]
    named = {(name, path) for name, text in DOCUMENTS.items() for path in re.findall(r"(?<![\w.])/v1/[\w/:]+", text)}
    assert named
    for name, path in named:
        assert any(re.fullmatch(pattern, path.rstrip("/")) for pattern in patterns), f"{name} names {path}"


def test_every_command_that_a_document_names_exists() -> None:
    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    for name, text in DOCUMENTS.items():
        # In code alone, a block or `…`: elsewhere it may be the verb.
        code = re.findall(r"`[^`\n]+`|^(?: {4,}|\$ ).*$", text, flags=re.MULTILINE)
        named = {each for line in code for each in re.findall(r"(?:^|[`|(]|&& |\$ ) *tally ([a-z]+(?:-[a-z]+)*)", line)}
        assert named <= commands, name


def test_readme_names_every_command_that_is_to_be_learnt() -> None:
    assert {"up", "ingest", "status"} <= set(re.findall(r"`tally ([a-z]+)", DOCUMENTS["README.md"]))


def test_every_link_of_a_document_leads_somewhere() -> None:
    links = 0
    for name, text in DOCUMENTS.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            if re.match("[a-z]+:", target):
                continue
            links += 1
            path, _, anchor = target.partition("#")
            file = (ROOT / name).parent / path if path else ROOT / name
            assert file.exists(), f"{name} links to {target}"
            if anchor:
                assert anchor in _anchors(file.read_text(encoding="utf-8")), f"{name} links to {target}"
    assert links > 30


def _anchors(text: str) -> set[str]:
    """What GitHub makes of the headings, and those that are written out."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)"', text))


def test_what_the_architecture_names_exists() -> None:
    """Every folder, module and script: a change that moves one changes the page as well."""
    for name in ("docs/architecture.md", *(each for each in DOCUMENTS if each.startswith("docs/decisions/"))):
        named = set(re.findall(r"`((?:\w+/)+(?:[\w.]+)?)`", DOCUMENTS[name]))
        missing = {path for path in named if not (ROOT / path).exists()}
        assert not missing, f"{name} names what is not there, or was moved"


def test_the_architecture_says_what_each_script_promises() -> None:
    text = DOCUMENTS["docs/architecture.md"]
    table = text[text.index("## What each script promises") : text.index("## Where to add")]
    promised = set(re.findall(r"`(\w+\.lua)`", table))
    there = {path.name for path in (ROOT / "tally/store/scripts").glob("*.lua")}
    assert promised == there, "the table in docs/architecture.md has a line for each script"
    assert set(re.findall(r"`(\w+\.lua)`", text)) <= there


def test_the_list_of_decisions_is_whole() -> None:
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", DOCUMENTS["docs/decisions/README.md"]))
    there = {path.name for path in (ROOT / "docs/decisions").glob("*.md")}
    assert listed == there - {"README.md"}
