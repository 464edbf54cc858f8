"""Pages of other sites, and who listens for whom: real services, asked as browsers ask."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from ingestor.log_events import HTTP_TO_LINES
from tally.keys import Keys
from tests.processes import Process
from tests.senders import LINES, raw, wait_for_port
from tests.server import Server, free_port
from tests.waiting import wait_until

KEYS = Keys()
EVENT = b'{"event_type": "a", "data": "b"}\n'
DASHBOARD = "https://dashboard.example"


class Service:
    """The api, or an ingestor with one listening source, while it is entered."""

    def __init__(self, server: Server, folder: Path, scheme: str = "", *, host: str = "127.0.0.1", **variables: str):
        self.port = free_port()
        arguments = ["ingestor", f"{scheme}://{host}:{self.port}"] if scheme else ["api"]
        variables |= {"TALLY_REDIS_URL": server.url, "TALLY_HTTP_HOST": host, "TALLY_HTTP_PORT": str(self.port)}
        self.process = Process(*arguments, log=folder / f"{self.port}.log", **variables)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def __enter__(self) -> Service:
        self.process.start()
        wait_for_port(self.port)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.http.close()

    def post(self, **headers: str) -> httpx.Response:
        """As a page may without being asked anything: text/plain."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post("/events", content=EVENT, headers={"Content-Type": "text/plain"} | names)


def test_a_page_of_another_site_adds_no_events(server: Server, tmp_path: Path) -> None:
    with Service(server, tmp_path, "http") as service, server.client() as client:
        evil = service.post(Origin="https://evil.example", Sec_Fetch_Site="cross-site")
        assert evil.status_code == 403
        assert "TALLY_INGEST_CORS_ORIGINS" in evil.json()["detail"]
        rebound = service.post(Host=f"evil.example:{service.port}", Sec_Fetch_Site="same-origin")
        assert rebound.status_code == 421
        assert "TALLY_INGEST_ALLOWED_HOSTS" in rebound.json()["detail"]
        assert client.xlen(KEYS.stream) == 0
        assert service.post().status_code == 202
        assert service.post(Host=f"ingestor:{service.port}").status_code == 202
        assert client.xlen(KEYS.stream) == 2


def test_a_page_of_an_origin_that_is_named_adds_events(server: Server, tmp_path: Path) -> None:
    with Service(server, tmp_path, "http", TALLY_INGEST_CORS_ORIGINS=DASHBOARD) as service:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        preflight = service.http.options("/events", headers=asked | {"Origin": DASHBOARD})
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == DASHBOARD
        assert "content-type" in preflight.headers["access-control-allow-headers"].lower()
        taken = service.post(Origin=DASHBOARD, Sec_Fetch_Site="cross-site", Content_Type=LINES)
        assert taken.status_code == 202
        assert taken.headers["access-control-allow-origin"] == DASHBOARD
        assert service.post(Origin="https://evil.example").status_code == 403


def test_nor_does_one_that_posts_to_a_source_of_lines(server: Server, tmp_path: Path) -> None:
    """Any page may have a request sent to any port, and choose its body: that would be lines."""
    with Service(server, tmp_path, "tcp") as service, server.client() as client:
        request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(EVENT), EVENT)
        answer = raw(service.port, request)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"http://HOST:PORT" in answer
        assert raw(service.port, EVENT + b"POST / HTTP/1.1\n", half_close=True) == b""
        wait_until(lambda: client.xlen(KEYS.stream) >= 1, what="lines are appended")
        lines = b"\n".join(fields["lines"].encode() for _, fields in client.xrange(KEYS.stream))
        assert lines.count(b"event_type") == 1
        assert HTTP_TO_LINES in service.process.log()


def test_the_api_answers_no_page_of_another_site(server: Server, tmp_path: Path) -> None:
    with Service(server, tmp_path, TALLY_ROOT_PATH="/tally") as service:
        ask = service.http.get
        evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        for path in ("/v1/types", "/tally/v1/types", "/v1/live", "/readyz", "/static/page.js"):
            assert ask(path, headers=evil).status_code == 403, path
            assert ask(path, headers={"Host": "evil.example"}).status_code == (200 if path == "/readyz" else 421), path
        assert "TALLY_CORS_ORIGINS" in ask("/v1/types", headers=evil).json()["detail"]
        assert ask("/v1/types", headers={"Host": "evil.example"}).json()["detail"].count("TALLY_ALLOWED_HOSTS") == 1
        # As a proxy asks that keeps the name, once it is told; and one that does not.
        assert ask("/v1/types").status_code == 200
    with Service(server, tmp_path, TALLY_ALLOWED_HOSTS="tally.example.com") as proxied:
        assert proxied.http.get("/v1/types", headers={"Host": "tally.example.com"}).status_code == 200
        assert proxied.http.get("/v1/types").status_code == 200


@pytest.mark.parametrize(
    ("scheme", "variables", "warned"),
    [
        ("", {}, "TALLY_API_TOKEN"),
        ("", {"TALLY_API_TOKEN": "secret"}, None),
        ("http", {}, "TALLY_INGEST_TOKEN"),
        ("http", {"TALLY_INGEST_TOKEN": "secret"}, None),
        ("tcp", {}, "use an http source"),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_who_listens_beyond_loopback_without_a_token_is_told(
    server: Server, tmp_path: Path, host: str, scheme: str, variables: dict[str, str], warned: str | None
) -> None:
    with Service(server, tmp_path, scheme, host=host, **variables) as service:
        assert service.process.stop() == 0
    said = re.findall(r"[^\n]*listening beyond loopback[^\n]*", service.process.log())
    if warned is None or host == "127.0.0.1":
        assert said == []
    else:
        (warning,) = said
        assert warned in warning


def test_beyond_loopback_any_name_may_lead_here(server: Server, tmp_path: Path) -> None:
    with Service(server, tmp_path, host="0.0.0.0") as service:
        assert service.http.get("/v1/types", headers={"Host": "tally.example.com"}).status_code == 200
        evil = {"Host": "tally.example.com", "Origin": "https://evil.example"}
        assert service.http.get("/v1/types", headers=evil).status_code == 403
