"""What is built of a clean clone is whole: installed in a fresh environment it has the page and all that this names.

TALLY_REQUIRE_PACKAGES=1 runs these tests, which take minutes, npm and a package index; they are skipped without it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from tests.server import free_port
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.packages,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    # Read here, because each test is run without the TALLY_ variables of the shell.
    pytest.mark.skipif(
        os.environ.get("TALLY_REQUIRE_PACKAGES") != "1", reason="takes minutes; to run it: TALLY_REQUIRE_PACKAGES=1"
    ),
]

ROOT = Path(__file__).parents[2]

#: What a clone has not: what git ignores.
_NOT_CLONED = shutil.ignore_patterns(
    ".git",
    ".venv",
    ".tally",
    ".env",
    "vendor",
    "node_modules",
    "build",
    "dist",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
)

#: What a page or a file of it names, in HTML, CSS and JavaScript.
_NAMED = re.compile(r"""(?:src=|href=|["'(])["']?([\w./-]+\.(?:js|css|svg|png|woff2?))["')]""")

#: Where the third-party files are, without which nobody would miss much at first.
VENDOR = {
    "/static/vendor/uplot/uPlot.esm.js",
    "/static/vendor/uplot/uPlot.min.css",
    "/static/vendor/swagger-ui-dist/swagger-ui-bundle.js",
    "/static/vendor/swagger-ui-dist/swagger-ui.css",
}


def run(*command: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(each) for each in command],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, **variables},
        check=False,
    )


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As much of this project as a clean clone has."""
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("clone") / "tally", ignore=_NOT_CLONED))


@pytest.fixture(scope="module")
def built(clone: Path) -> Path:
    """The folder with the wheel and the sdist, each built of the clone."""
    folder = clone.parent / "dist"
    # Where there is no npm, an sdist brings its own, and the wheel is built of that.
    both = ["--wheel", "--sdist"] if shutil.which("npm") else []
    done = run(sys.executable, "-P", "-m", "build", "--no-isolation", *both, "--outdir", folder, clone)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("package", ["*.whl", "*.tar.gz"])
def test_what_is_installed_has_the_page_and_all_that_it_names(built: Path, tmp_path: Path, package: str) -> None:
    (file,) = built.glob(package)
    environment = tmp_path / "environment"
    assert run(sys.executable, "-m", "venv", environment).returncode == 0
    locks = [word for lock in ("runtime", "build") for word in ("--requirement", ROOT / f"requirements/{lock}.txt")]
    for packages in (
        ["--require-hashes", *locks],
        # Without an index: nothing is needed but those. Without npm: what is needed of it is in the sdist.
        ["--no-index", "--no-build-isolation", file],
    ):
        installed = run(environment / "bin/python", "-m", "pip", "install", *packages, PATH="/nowhere")
        assert installed.returncode == 0, installed.stdout + installed.stderr
    for typed in ("tally", "ingestor", "aggregator", "api"):
        assert list(environment.glob(f"lib/python*/site-packages/{typed}/py.typed")), typed

    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        up = subprocess.Popen(
            [environment / "bin/tally", "up", "--no-source", "--port", str(port)], stdout=log, stderr=log, cwd=tmp_path
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

            def ready() -> bool:
                assert up.poll() is None, (tmp_path / "log").read_text()
                try:
                    return client.get("/readyz").status_code == 200
                except httpx.TransportError:
                    return False

            wait_until(ready, what="it is ready", seconds=180)
            found = _all_that_is_named(client, "/", "/docs")
    finally:
        up.terminate()
        up.wait(60)
    assert found >= VENDOR
    assert found >= {f"/static/{each.name}" for each in (ROOT / "api/static").glob("*.js")}


def _all_that_is_named(client: httpx.Client, *pages: str) -> set[str]:
    """The paths of these pages, of what they name, and of what that names. Fails where one is not served."""
    found: set[str] = set()
    waiting = set(pages)
    while waiting:
        path = waiting.pop()
        found.add(path)
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert answer.content, path
        if "/vendor/" not in path:  # whole programs, in which every text looks like a path
            # What begins with neither a dot nor the folder is no path of ours.
            named = (name for name in _NAMED.findall(answer.text) if name.startswith((".", "static/")))
            waiting |= {urlsplit(urljoin(f"http://host{path}", name)).path for name in named} - found
    return found


def test_a_build_that_cannot_have_the_files_of_the_page_fails_with_a_sentence(clone: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(clone, tmp_path / "bare", ignore=_NOT_CLONED))
    built = ["--no-isolation", "--wheel", "--outdir", tmp_path / "dist"]
    done = run(sys.executable, "-P", "-m", "build", *built, bare, PATH="/nowhere")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "assets: there is no npm here" in said
    assert "The live page's chart and the API docs page are npm packages that are not here" in said
    assert not (tmp_path / "dist").exists() or not list((tmp_path / "dist").iterdir())
