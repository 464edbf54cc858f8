"""The programs of docs/api.md do what they say, as they stand there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from queue import Queue

import httpx
import pytest

from tests.integration.test_query_api import api, count, lines_of_now
from tests.server import Server

DOCS = Path(__file__).parents[2] / "docs" / "api.md"

#: Each language of an example, and what runs one.
RUN = {"python": [sys.executable, "-c"], "js": ["node", "--input-type=module", "--eval"]}


def example(language: str, *, at: httpx.URL) -> str:
    """The program in this language, for an api at this address, and with so small pages that there are several."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    changed = re.sub(r'(limit"?: )1000', r"\g<1>4", text)
    assert changed != text
    assert "http://127.0.0.1:9090" in changed
    return changed.replace("http://127.0.0.1:9090", str(at).rstrip("/"))


@pytest.mark.parametrize("language", list(RUN))
def test_it_lists_all_words_and_watches(server: Server, tmp_path: Path, language: str) -> None:
    if shutil.which(RUN[language][0]) is None:
        pytest.skip(f"there is no {RUN[language][0]}")
    count(server, lines_of_now())
    with api(server, tmp_path) as client:
        words = client.get("/v1/words?window=1h&limit=10000").json()["items"]
        assert len(words) > 8, "there are several pages"
        events = client.get("/v1/stats").json()["totals"]["events"]
        program = subprocess.Popen(
            [*RUN[language], example(language, at=client.base_url)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        said: Queue[str] = Queue()
        output = program.stdout
        assert output is not None

        def read() -> None:
            for line in output:
                said.put(line)

        reading = threading.Thread(target=read)
        reading.start()
        try:
            lines = [said.get(timeout=60).rstrip("\n") for _ in range(len(words) + 1)]
        finally:
            program.kill()
            program.wait()
            reading.join()
            output.close()
    assert lines == [*(f"{word['name']} {word['count']}" for word in words), f"{events} events"]
