"""Run by hatchling for each wheel and sdist: what is built has the page's third-party files, or is not built."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))
import assets


class AssetsHook(BuildHookInterface[Any]):
    """Brings the files of api/static/vendor where they are not there yet, as in a clean clone."""

    def dependencies(self) -> list[str]:
        """Ask for a Node where there is none. For an sdist only: an editable wheel needs none, and cannot be told."""
        needs_node = self.target_name == "sdist" and assets.missing() and not shutil.which("npm")
        return [assets.NODE] if needs_node else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Exit with a sentence when the files cannot be had; pip and `python -m build` show it."""
        if version == "editable" or not assets.missing():
            return  # `make run` installs so, and goes on without them where it must
        if assets.bring() != 0:
            raise SystemExit(
                "The live page's chart and the API docs page are npm packages that are not here and cannot be had, see "
                "above. Build where there is npm and a registry, or first run: make assets"
            )
