"""Data as a Tally of some format left it in Redis, stored in tests/formats for all later ones to be tried with.

    python -m tests.stored FOLDER FILE      make FILE with the Tally in FOLDER, a checkout of the wanted commit

It is made by that Tally's own services on a redis-server 7.0, whose files every newer server reads. An ingestor reads
a file, an aggregator counts it; more is written to the file and appended, and is pending to an aggregator that is gone.

When the format in tally/layout.py is raised, make the one of the last commit before.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tally.keys import GROUP, Keys
from tests.processes import Child
from tests.server import Server
from tests.waiting import wait_until

FORMATS = Path(__file__).parent / "formats"

#: Where the file was when it was read. A test that goes on with it has it elsewhere, and renames it in Redis.
PATH = Path("/srv/tally-sample/events.ndjson")

#: A day long ago, in Unix seconds.
DAY = 1_600_000_000 // 86_400 * 86_400

#: How many lines were counted, and how many waited.
COUNTED = 300
WAITING = 100

#: For what an aggregator does with windows when there is nothing to count.
TIDYING_SECONDS = 10


def line(number: int) -> bytes:
    """Return a line of the file: one in seventeen is no event, and they go on over some days."""
    if number % 17 == 3:
        return b'{"event_type": "torn", "da\n'
    event = {
        "event_type": ("login", "error", "größe")[number % 3],
        "data": f"Lorem ipsum {number % 7} dolor-{number % 23} c\u0327a",
        "timestamp": DAY + number * 420,
    }
    return json.dumps(event, ensure_ascii=False).encode() + b"\n"


def lines(first: int, last: int) -> bytes:
    """Return the lines from one number to before another."""
    return b"".join(map(line, range(first, last)))


def sample(data_format: str) -> Path:
    """Return the file with data of that format."""
    return FORMATS / f"{data_format}.rdb"


def serve(path: Path, folder: Path) -> Server:
    """Return a server, started, that has loaded such a file, and keeps what is done to it in memory alone."""
    folder.mkdir()
    shutil.copy(path, folder / "dump.rdb")
    server = Server(folder)
    server.start()
    return server


def main(checkout: Path, target: Path) -> None:
    """Make a file with the Tally of a checkout."""
    keys = Keys()
    PATH.parent.mkdir(parents=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            server = Server(Path(folder), binary="redis-server")
            server.start()

            def started(*arguments: str) -> Child:
                log = Path(folder) / "service.log"
                variables = {"TALLY_REDIS_URL": server.url, "PYTHONPATH": str(checkout)}
                service = Child([sys.executable, "-m", *arguments], log=log, variables=variables, folder=checkout)
                service.start()
                return service

            try:
                PATH.write_bytes(lines(0, COUNTED))
                assert started("ingestor", str(PATH)).wait() == 0
                aggregator = started("aggregator")
                with server.client() as client:
                    wait_until(lambda: client.hget(keys.totals, "lines") == str(COUNTED), what="the file is counted")
                    time.sleep(TIDYING_SECONDS)
                    assert aggregator.stop() == 0
                    with PATH.open("ab") as file:
                        file.write(lines(COUNTED, COUNTED + WAITING))
                    assert started("ingestor", str(PATH)).wait() == 0
                    client.xreadgroup(GROUP, "gone", {keys.stream: ">"}, count=1)
                    client.save()
            finally:
                server.stop()
            shutil.copy(Path(folder) / "dump.rdb", target)
    finally:
        shutil.rmtree(PATH.parent)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
