"""A TCP listener for tests: whatever it accepted is closed, and its threads are over, when it is closed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType


class Listener:
    """Listens on loopback, and calls `serve` for each connection, in a thread of the connection's own.

    `serve` may raise OSError. Its connection is closed after it; `close` shuts those down that are still served.
    """

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._open: dict[socket.socket, socket.socket] = {}
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take no more connections, end those that there are, and wait for their threads."""
        # Closing alone does not wake the thread in accept(): it would hold the port, and take one more connection.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(30)
        self._listener.close()
        with self._lock:
            for duplicate in self._open.values():
                with suppress(OSError):
                    duplicate.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a connection of the test is still being served"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with self._lock:
                    # A duplicate, because `serve` may make another object of the connection, as TLS does.
                    self._open[connection] = connection.dup()
                thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run(self, connection: socket.socket) -> None:
        with suppress(OSError):
            self._serve(connection)
        with self._lock:
            self._open.pop(connection).close()
            connection.close()
