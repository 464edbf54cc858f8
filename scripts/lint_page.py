#!/usr/bin/env python3
"""Check the live page's JavaScript: its types with tsc, its style with ESLint. `make lint` runs this.

The types of the API's answers are generated from the api's own OpenAPI document, so that a field which the api renames
is an error here as long as the page asks for the old one. Nothing of this is needed to serve the page.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import assets

from api.app import create_app
from tally.settings import Settings

#: What tsc is given of the API; tsconfig.json names this folder too.
TYPES = assets.ROOT / "build" / "page" / "openapi.d.ts"

GENERATE, CHECK_TYPES, CHECK_STYLE = "openapi-typescript/bin/cli.js", "typescript/bin/tsc", "eslint/bin/eslint.js"


def main() -> int:
    try:
        return check()
    except assets.AssetsError as error:
        sys.stderr.write(f"lint_page: {error}\n")
        return 1


def check() -> int:
    """Return 0 if there is nothing to be said against the page's JavaScript, else 1."""
    missing = [tool for tool in (GENERATE, CHECK_TYPES, CHECK_STYLE) if not (assets.PACKAGES / tool).is_file()]
    if missing:
        sys.stderr.write(f"lint_page: {missing[0]} is not in node_modules; to get it: make assets\n")
        return 1
    schema = write_schema(TYPES.with_name("openapi.json"))
    if run(GENERATE, str(schema), "--output", str(TYPES), quiet=True) != 0:
        return 1
    # Both of them, so that one run shows all there is to do.
    return max(run(CHECK_TYPES, "--project", "tsconfig.json"), run(CHECK_STYLE, "--max-warnings=0", "."))


def write_schema(path: Path) -> Path:
    """Write the api's OpenAPI document there. Making it asks no Redis."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(create_app(Settings(redis_url="redis://127.0.0.1:1/0")).openapi()))
    return path


def run(tool: str, *arguments: str, quiet: bool = False) -> int:
    """Run a tool of node_modules. Returns 0 if it finds nothing wrong, else 1."""
    _, variables = assets.npm()
    node = shutil.which("node", path=variables["PATH"])
    assert node is not None, "where there is an npm there is a node"
    done = subprocess.run(
        [node, str(assets.PACKAGES / tool), *arguments],
        cwd=assets.ROOT,
        env=variables,
        stdout=subprocess.DEVNULL if quiet else None,
        check=False,
    )
    return int(done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
