"""An api and an aggregator on a real server, and the events that tests count with them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx

from tally.keys import Keys
from tests.processes import Process
from tests.server import Server, free_port
from tests.waiting import wait_until

KEYS = Keys()


def event(event_type: str, data: str = "lorem ipsum", *, ago: float = 0.0) -> dict[str, object]:
    """Return an event of so many seconds ago."""
    return {"event_type": event_type, "data": data, "timestamp": time.time() - ago}


class Pipeline:
    """An api and an aggregator; lines are put onto the stream by the test itself."""

    def __init__(self, server: Server, folder: Path, *, path: str = "", **variables: str) -> None:
        self.server = server
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{path}"
        self.token = variables.get("TALLY_API_TOKEN")
        self.sent = 0
        variables |= {"TALLY_REDIS_URL": server.url, "TALLY_HTTP_PORT": str(self.port), "TALLY_ROOT_PATH": path}
        self.api = Process("api", log=folder / "api.log", **variables)
        self.aggregator = Process("aggregator", log=folder / "aggregator.log", **variables)

    def send(self, *events: dict[str, Any] | str) -> None:
        """Put events, or lines as they are, onto the stream as one block."""
        lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
        with self.server.client() as client:
            client.xadd(KEYS.stream, {"lines": "\n".join(lines)})
        self.sent += len(lines)

    def count(self, *events: dict[str, Any] | str) -> None:
        """Send them, and wait until all that was ever sent is counted."""
        self.send(*events)
        with self.server.client() as client:
            wait_until(
                lambda: int(client.hget(KEYS.totals, "lines") or 0) == self.sent,
                what="all lines are counted",
            )

    def ask(self, path: str, **parameters: str | int) -> Any:
        """Return the api's own answer."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return httpx.get(f"{self.url}/{path}", params=parameters, headers=headers).raise_for_status().json()

    def ranking(self, kind: str) -> dict[str, int]:
        """Return the first page of types or words as the api has them."""
        return {item["name"]: item["count"] for item in self.ask(f"v1/{kind}", limit=25)["items"]}

    def answers(self) -> bool:
        """Return whether the api is there."""
        try:
            return httpx.get(f"{self.url}/healthz").status_code == 200
        except httpx.TransportError:
            return False
