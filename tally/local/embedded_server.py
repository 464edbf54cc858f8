"""The embedded server: a Valkey in a child process, with its data in a folder, for machines without a Redis.

What stands in the folder besides the data:

| file | is |
| --- | --- |
| `lock` | locked by the `tally up` that has the folder |
| `server.lock` | locked by the server itself, as long as it lives; holds how it is reached |
| `redis.url` | how the server is reached; gone when it is |
| `private` | the way in, see tally.local.access |
| `valkey.log` | what the server says |

Only the user who runs it may open any of it.

A server that outlived its `tally up` cannot be missed, therefore, and two never write the same files.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tally.clock import SYSTEM, Clock
from tally.local import guard
from tally.local.access import Door, free_port, open_door, shut_to_others, write_privately
from tally.local.server_binary import server_binary
from tally.redis_location import URL_FILE
from tally.runtime import PYTHON_MODULE, Failure
from tally.telemetry import get_logger

#: How long the server may take to load its append-only file.
_START_SECONDS = 600.0

#: How long it may take to end, with what its guard needs besides.
_END_SECONDS = guard.END_SECONDS + 5.0

_DURABLE = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",
    # Blocks pass through the file and are deleted: it would be rewritten every few seconds at the default of 64 MB.
    "auto-aof-rewrite-min-size": "512mb",
}

#: What the server says last when it cannot listen there: another one has the port, or the file system has no sockets.
_CANNOT_LISTEN = ("Failed listening on port", "Failed opening Unix socket")

#: How many ports are tried then.
_PORT_TRIES = 20

#: What the server puts in front of each line of its log.
_LOG_PREFIX = re.compile(r"^\d+:\w .{20,28} [.*#-] ")


class CannotListenError(Failure):
    """There is no way in where one was to be. Another one may do."""


class EmbeddedServer:
    """A Valkey of our own. One at a time in a folder; it ends with us, however we end.

    With `durable` it keeps its data; without, the folder is its own and is removed when we are gone. With a `port` it
    is reached by TCP, with a password, otherwise by a Unix socket if it can be.

    One of several, see embedded_cluster, has `options` of its own, the `password` of all, and is not what clients are
    told: how the whole is reached is in `url_path`, which goes with it.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        durable: bool = True,
        port: int | None = None,
        password: str | None = None,
        options: Mapping[str, str] | None = None,
        url_path: Path | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._data_dir = data_dir.absolute()
        self._durable = durable
        self._port = port
        self._password = password
        self._options = dict(options or {})
        self._is_told = url_path is None
        self._url_path = (url_path or self._data_dir / URL_FILE).absolute()
        self._clock = clock
        self._door: Door | None = None
        self._lock: IO[str] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def nodes(self) -> int:
        """Return how many servers it is."""
        return 1

    @property
    def url(self) -> str:
        """Return how it is reached, once it was started. It may have a password in it."""
        assert self._door is not None
        return self._door.url

    def start(self, *, stopped: Callable[[], bool] = lambda: False) -> None:
        """Start it and wait until it has loaded its data, or until `stopped`. Raises Failure with what is wrong."""
        try:
            self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            shut_to_others(self._data_dir)
            self._lock = _locked(self._data_dir / "lock")
            if self._lock is None:
                raise Failure(
                    f"another tally up uses the data folder {self._data_dir}; stop it, or name another folder with "
                    "--data"
                )
            self._door = open_door(self._data_dir, port=self._port, password=self._password)
        except OSError as error:
            raise Failure(f"data folder {self._data_dir}: {error.strerror}; name another with --data") from error
        for tries_left in reversed(range(_PORT_TRIES)):
            try:
                self._launch(self._door, stopped)
                return
            except CannotListenError:
                if self._port is not None or not tries_left:
                    raise
                self._door = open_door(self._data_dir, port=free_port())

    @property
    def dead(self) -> bool:
        """Return whether it ended although nobody stopped it."""
        return self._guard is not None and self._guard.poll() is not None

    def restart_if_dead(self) -> bool:
        """Start it again, at the same URL, if it is dead; True if it was. Raises Failure as start does."""
        if not self.dead:
            return False
        assert self._door is not None
        self._launch(self._door)
        return True

    def stop(self) -> None:
        """Stop it in order: it writes out what it holds. Nothing needs this: its guard does it when we are gone."""
        if self._guard is not None:
            self._cut_lifeline(self._guard)
            with suppress(subprocess.TimeoutExpired):
                self._guard.wait(_END_SECONDS)
        if self._lock is not None:
            with suppress(OSError):
                # Or else our folder was removed, and the URL is that of another server, in another one of that name.
                if (self._data_dir / "lock").samefile(f"/dev/fd/{self._lock.fileno()}"):
                    self._url_path.unlink()
            self._lock.close()
        self._guard = self._lock = None

    def _launch(self, door: Door, stopped: Callable[[], bool] = lambda: False) -> None:
        try:
            with self._server_lock() as lock, _opened(self._data_dir / "valkey.log", "ab") as log:
                lock.truncate(0)
                lock.write(f"{door.url}\n")
                lock.flush()
                logged_bytes = os.fstat(log.fileno()).st_size
                self._spawn(door, lock, log)
            if self._wait_until_ready(door, logged_bytes, stopped) and self._is_told:
                write_privately(self._url_path, f"{door.url}\n")
        except OSError as error:
            raise Failure(f"the embedded server does not start: {error}") from error

    def _spawn(self, door: Door, lock: IO[str], log: IO[bytes]) -> None:
        options = {**door.options, "dir": "."}  # the folder's path may hold anything
        options |= (_DURABLE if self._durable else {"save": ""}) | self._options
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        gone_with_us = self._url_path if self._durable else self._data_dir
        if self._guard is not None:
            self._cut_lifeline(self._guard)
        self._guard = subprocess.Popen(
            [
                *PYTHON_MODULE,
                guard.__name__,
                gone_with_us,
                self._data_dir,
                server_binary(),
                *door.before,
                *arguments,
            ],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=(lock.fileno(),),
            umask=0o077,
            # So that a Ctrl-C, or a manager's signal to the whole group, does not come to the server before the
            # services that need it have ended.
            start_new_session=True,
        )

    def _cut_lifeline(self, kept: subprocess.Popen[bytes]) -> None:
        assert kept.stdin is not None
        kept.stdin.close()

    @contextmanager
    def _server_lock(self) -> Iterator[IO[str]]:
        """The lock that the server is to have. Ends one that has it still: its `tally up` was killed, and its guard.

        Raises Failure when that does not end.
        """
        path = self._data_dir / "server.lock"
        deadline = self._clock.monotonic() + _END_SECONDS
        said = False
        while (lock := _locked(path)) is None:
            if not said:
                get_logger().warning("ending the server that a killed tally up left behind", data=str(self._data_dir))
                said = True
            self._end_orphan(path)
            if self._clock.monotonic() > deadline:
                raise Failure(
                    f"a server that a killed tally up left behind in {self._data_dir} does not end; kill the "
                    f"valkey-server that has {path} open"
                )
            self._clock.block(0.02)
        with lock:
            yield lock

    def _end_orphan(self, path: Path) -> None:
        with suppress(redis.RedisError, OSError, ValueError):
            url = path.read_text(encoding="utf-8").strip()
            with _client(f"redis://127.0.0.1:{url}/0" if url.isdigit() else url) as client:  # older ones wrote a port
                if self._is_ours(client):
                    client.shutdown(nosave=True)  # flushes the append-only file all the same

    def _is_ours(self, client: redis.Redis) -> bool:
        # Somebody else may have that port by now. As the client decodes: a path may be no text.
        ours = os.fsencode(self._data_dir.resolve()).decode("utf-8", errors="replace")
        return bool(client.config_get("dir")["dir"] == ours)

    def _wait_until_ready(self, door: Door, logged_bytes: int, stopped: Callable[[], bool]) -> bool:
        assert self._guard is not None
        log_path = self._data_dir / "valkey.log"
        deadline = self._clock.monotonic() + _START_SECONDS
        while self._clock.monotonic() < deadline:
            if stopped():
                return False
            if self._guard.poll() is not None:
                words = _last_words(log_path, logged_bytes)
                raise (CannotListenError if words.startswith(_CANNOT_LISTEN) else Failure)(
                    f"the embedded server does not start: {words}\nAll that it said is in {log_path}"
                )
            with suppress(redis.RedisError, OSError), _client(door.url) as client:
                if self._is_ours(client) and client.ping():
                    return True
            self._clock.block(0.02)
        raise Failure(f"the embedded server is not ready after {_START_SECONDS:.0f} s; see {log_path}")


def _locked(path: Path) -> IO[str] | None:
    """Open and lock the file, until all that inherit it have closed it; None if another process has the lock."""
    file = _opened(path, "a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:
        file.close()
        raise
    return file


def _opened(path: Path, mode: str) -> IO[Any]:
    """Return a file that is its user's alone, opened to be appended to."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return open(descriptor, mode, encoding=None if "b" in mode else "utf-8")  # noqa: PTH123


def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=5, retry=Retry(NoBackoff(), 0))


def _last_words(log_path: Path, logged_bytes: int) -> str:
    """Return the last line of its log that the server wrote since the log was so long."""
    with log_path.open("rb") as log:
        log.seek(logged_bytes)
        lines = log.read().decode("utf-8", errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return _LOG_PREFIX.sub("", said[-1]) if said else "it ended without a word"
