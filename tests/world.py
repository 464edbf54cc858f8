"""A folder with a log in it, somebody who writes to it and rotates it, and an ingestor that follows it."""

from __future__ import annotations

import bz2
import gzip
import os
import random
import time
from contextlib import suppress
from pathlib import Path

from ingestor.log_events import FOLLOWING
from tally.generator import Generator, GeneratorSpec
from tests.processes import Process
from tests.server import Server
from tests.stream import Stream
from tests.waiting import wait_until


class World:
    """A folder with a log in it, somebody who writes to it, and an ingestor that follows it."""

    def __init__(self, folder: Path, server: Server, *, seed: int, sources: list[str], shards: int = 1) -> None:
        self.folder = folder / "logs"
        self.folder.mkdir()
        self.log = self.folder / "events.log"
        self.chance = random.Random(seed)
        self.ingestor = Process(
            "ingestor",
            *(source.format(self.folder) for source in sources),
            log=folder / "ingestor.log",
            TALLY_REDIS_URL=server.url,
            TALLY_MAX_BLOCK_BYTES="4096",
            **({"TALLY_SHARDS": str(shards), "TALLY_STRIPE_BYTES": "3000"} if shards > 1 else {}),
        )
        self.stream = Stream(server.port, shards=shards)
        chunks = Generator(GeneratorSpec(count=100_000, seed=seed, corrupt=0.05)).lines()
        self._lines = (line + b"\n" for chunk in chunks for line in chunk.split(b"\n") if line)
        self.written: list[bytes] = []
        self.written_bytes = 0
        self._followed_before = 0

    def make(self, lines: int) -> bytes:
        """So many lines that nobody has seen yet; they are to be counted."""
        made = [next(self._lines) for _ in range(lines)]
        self.written += made
        self.written_bytes += sum(map(len, made))
        return b"".join(made)

    def write(self, lines: int, path: Path | None = None) -> None:
        """Append lines, in pieces that do not end where lines do."""
        text = self.make(lines)
        with (path or self.log).open("ab", buffering=0) as file:
            while text:
                size = self.chance.randint(1, 3000)
                file.write(text[:size])
                text = text[size:]

    def write_and_kill(self, kills: int = 1) -> None:
        """Append lines and kill the ingestor at a random moment while it reads them, so many times."""
        for _ in range(kills):
            before = self.stream.appended_bytes()
            self.write(self.chance.randint(20, 400))
            wait_until(lambda before=before: self.stream.appended_bytes() > before, what="something is appended")  # type: ignore[misc]
            self.write(self.chance.randint(1, 400))
            time.sleep(self.chance.uniform(0.0, 0.15))  # when the kill comes is what is random here
            assert self.ingestor.kill(), self.ingestor.log()[-3000:]
            self.up()

    def up(self, **variables: str) -> None:
        self._followed_before = self._times_followed()
        self.ingestor.start(**variables)

    def ready(self) -> None:
        """Wait until it follows, and has read all."""
        self.follows()
        self.read_all()

    def follows(self) -> None:
        """Wait until this life of the ingestor follows; one before it may have been killed before it did."""
        wait_until(lambda: self._times_followed() > self._followed_before, what="it follows")

    def _times_followed(self) -> int:
        return self.ingestor.log().count(f'"{FOLLOWING}"') if self.ingestor.has_log else 0

    def down(self) -> None:
        self.ingestor.kill()

    def restart(self) -> None:
        self.down()
        self.up()

    def read_all(self) -> None:
        """Wait until everything that was written is in the stream."""
        wait_until(
            lambda: self.stream.appended_bytes() >= self.written_bytes,
            what=f"{self.written_bytes} bytes are appended; {self.ingestor.log()[-3000:]}",
        )

    def log_is_open(self) -> bool:
        """Return whether the ingestor has the file open that is at the followed path now."""
        return self.is_open(self.log)

    def is_open(self, path: Path) -> bool:
        """Return whether the ingestor has the file open that is at this path now."""
        now = path.stat()
        for link in Path(f"/proc/{self.ingestor.pid}/fd").iterdir():
            with suppress(OSError):
                found = link.stat()
                if (found.st_dev, found.st_ino) == (now.st_dev, now.st_ino):
                    return True
        return False

    def says(self, text: str) -> None:
        wait_until(lambda: text in self.ingestor.log(), what=f"the log says {text!r}")


def rotate(world: World) -> None:
    """events.log becomes events.log.1, that becomes events.log.2, and so on."""
    present = [path for path in world.folder.iterdir() if path.name.startswith("events.log.")]
    for path in sorted(present, key=number, reverse=True):
        os.rename(path, path.with_name(path.name.replace(f".{number(path)}", f".{number(path) + 1}")))
    os.rename(world.log, world.folder / "events.log.1")


HEADER_BYTES = 1500


def begin_with_header(world: World) -> None:
    header = b'{"event_type": "header", "data": "%s"}\n' % (b"h" * HEADER_BYTES)
    header = header[: HEADER_BYTES - 1] + b"\n"
    world.written.append(header)
    world.written_bytes += len(header)
    world.log.write_bytes(header)


def replace_by_copy(world: World, lines: int) -> None:
    copy = world.folder / ".events.log.copy"
    copy.write_bytes(world.log.read_bytes() + world.make(lines))
    os.replace(copy, world.log)


def number(path: Path) -> int:
    return int(path.name.split(".")[2])


def copy_and_truncate(world: World) -> None:
    (world.folder / "events.log.1").write_bytes(world.log.read_bytes())
    os.truncate(world.log, 0)


def compress(path: Path, suffix: str) -> None:
    packed = path.with_name(path.name + suffix)
    text = path.read_bytes()
    packed.write_bytes(gzip.compress(text) if suffix == ".gz" else bz2.compress(text))
    status = path.stat()
    os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))  # as gzip does
    path.unlink()
