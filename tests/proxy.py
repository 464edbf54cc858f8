"""A TCP proxy that loses replies: the server has done what it was asked, and the client never hears of it."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.listener import Listener


class LossyProxy:
    """Forwards to a port; cuts the connection in place of a reply that holds `word`, with a given chance.

    Before it does, `on_loss` is called.
    """

    def __init__(
        self,
        target_port: int,
        *,
        word: bytes,
        chance: float,
        seed: int,
        on_loss: Callable[[], object] = lambda: None,
    ) -> None:
        self._target_port = target_port
        self.word = word
        self.chance = chance
        self._random = random.Random(seed)
        self._on_loss = on_loss
        self.lost = 0
        self._listener = Listener(self._serve)
        self.port = self._listener.port
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def close(self) -> None:
        """Take no more connections, and end those that there are."""
        self._listener.close()

    def _serve(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._target_port)) as server:
            requests = threading.Thread(target=self._forward, args=(client, server), daemon=True)
            requests.start()
            self._forward(server, client, replies=True)
            requests.join()

    def _forward(self, from_: socket.socket, to: socket.socket, replies: bool = False) -> None:
        with suppress(OSError):
            while chunk := from_.recv(1 << 16):
                if replies and self.word in chunk and self._random.random() < self.chance:
                    self.lost += 1
                    self._on_loss()
                    break
                to.sendall(chunk)
        for each in (from_, to):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
