"""What is installed from elsewhere is of the version and the hash that the lock files name, or it is refused."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]

LOCKS = {file.stem: file for file in (ROOT / "requirements").glob("*.txt")}

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
_OPTIONAL = PROJECT["project"]["optional-dependencies"]
_GROUPS = PROJECT["dependency-groups"]

#: What each lock file is made of.
WANTED: dict[str, list[str]] = {
    "runtime": PROJECT["project"]["dependencies"],
    "development": PROJECT["project"]["dependencies"] + _OPTIONAL["dev"] + _GROUPS["build"],
    "build": _GROUPS["build"],
    "node": _GROUPS["node"],
}


def locked(lock: str) -> dict[str, str]:
    """Return the versions of a lock file by name; fail where a package has none, or no hashes."""
    text = LOCKS[lock].read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        pinned = re.fullmatch(r"([a-z0-9-]+)==(\S+)( ; [^#]+?)?((?: +--hash=sha256:[0-9a-f]{64})+)", line)
        assert pinned, f"{lock}: {line[:80]}"
        found[pinned[1]] = pinned[2]
    return found


def test_each_lock_file_has_what_the_project_asks_for_and_all_of_them_agree() -> None:
    assert set(LOCKS) == set(WANTED)
    versions = locked("development")
    for lock, wanted in WANTED.items():
        found = locked(lock)
        for requirement in map(Requirement, wanted):
            name = requirement.name.replace(".", "-")
            assert requirement.specifier.contains(found[name]), f"{requirement}: make lock UPGRADE="
        if lock != "node":
            assert found.items() <= versions.items()


def test_what_builds_the_package_is_locked_as_it_is_asked_for() -> None:
    assert set(PROJECT["build-system"]["requires"]) <= set(_GROUPS["build"])
    (node,) = _GROUPS["node"]
    assert f'NODE = "{node}"' in (ROOT / "scripts" / "assets.py").read_text()


def test_every_package_of_the_page_has_a_hash() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert len(packages) > 10
    for name, package in packages.items():
        if name:  # else the project itself
            assert package["integrity"].startswith("sha512-"), name


@pytest.mark.parametrize("file", ["Dockerfile", "Makefile", ".ci/run", ".github/workflows/ci.yml"])
def test_nothing_is_installed_without_hashes(file: str) -> None:
    """Whatever installs requires hashes, or it is this folder itself, with nothing from an index."""
    text = (ROOT / file).read_text().replace("\\\n", " ")
    hashed = "PIP_REQUIRE_HASHES=1" in text
    for command in re.findall(r"(?:pip|\$\(PIP\)|--python \S+) (?:install|wheel) .*", text):
        ours = "--no-deps" in command and "--no-index" in command
        assert hashed or ours or "--require-hashes" in command, command
    assert not re.search(r"\b(?:pipx|uvx|npx|npm install)\b", text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the Makefile, a project, and an environment whose pip knows one package and installs nothing."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "hatchling.build"\n[project]\nname = "itself"\nversion = "1"\n'
        "[tool.hatch.build.targets.wheel]\nbypass-selection = true\n"
    )
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "build.txt").touch()
    with zipfile.ZipFile(tmp_path / "lorem-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("lorem-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: lorem\nVersion: 1\n")
        wheel.writestr("lorem-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("lorem-1.dist-info/RECORD", "")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("tampered", "is_refused_with"),
    [
        pytest.param(lambda right: f"--hash=sha256:{right}", None, id="right"),
        pytest.param(lambda right: f"--hash=sha256:{right[::-1]}", "DO NOT MATCH THE HASHES", id="another"),
        pytest.param(lambda right: "", "Hashes are required", id="none"),
    ],
)
def test_make_installs_only_what_has_the_right_hash(folder: Path, tampered: Any, is_refused_with: str | None) -> None:
    right = hashlib.sha256((folder / "lorem-1-py3-none-any.whl").read_bytes()).hexdigest()
    (folder / "requirements" / "runtime.txt").write_text(f"lorem==1 {tampered(right)}\n")
    pip = {"PIP_DRY_RUN": "1", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        ["make", ".venv/runtime.done"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "MAKE"))} | pip,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if is_refused_with is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode != 0
        assert is_refused_with in done.stderr
    assert (folder / ".venv" / "runtime.done").exists() == (is_refused_with is None)
