"""Who may ask an HTTP server of ours, by what the request says of where it comes from."""

from __future__ import annotations

import httpx
import pytest
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from tally.origins import is_loopback, parse_hosts, parse_origins, taken_hosts
from tally.web.cross_site import Allowed, CrossSite

DASHBOARD = "https://dashboard.example"

LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"taken"})


async def ask(
    headers: dict[str, str],
    *,
    method: str = "GET",
    path: str = "/v1/types",
    origins: str = "",
    hosts: str = "",
    address: str = "127.0.0.1",
    root_path: str = "",
) -> httpx.Response:
    """What is answered to a request with these headers, where an address is listened on; its Host is 127.0.0.1:9090."""
    allowed = Allowed(
        origins=parse_origins(origins),
        hosts=taken_hosts(parse_hosts(hosts), address=address),
        origins_setting="TALLY_ORIGINS",
        hosts_setting="TALLY_HOSTS",
    )
    transport = httpx.ASGITransport(CrossSite(answer, allowed=allowed, root_path=root_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9090") as client:
        return await client.request(method, path, headers=headers)


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        pytest.param("POST", {}, id="no browser"),
        pytest.param("POST", {"Origin": "http://127.0.0.1:9090"}, id="a page of ours, in an old browser"),
        pytest.param("POST", {"Origin": "http://127.0.0.1:9090", "Sec-Fetch-Site": "same-origin"}, id="a page of ours"),
        pytest.param("GET", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, id="an address that was typed"),
        pytest.param("GET", LINK, id="a link of another site"),
        pytest.param("GET", LINK | {"Sec-Fetch-Site": "same-site"}, id="a link of another port"),
        pytest.param(
            "POST",
            {"Origin": "https://tally.example.com", "Sec-Fetch-Site": "same-origin"},
            id="a page of ours, behind a proxy that asks by another name",
        ),
    ],
)
async def test_what_no_other_site_caused_is_taken(method: str, headers: dict[str, str]) -> None:
    assert (await ask(headers, method=method)).text == "taken"


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        pytest.param("POST", {"Origin": "https://evil.example"}, id="an old browser"),
        pytest.param("POST", {"Sec-Fetch-Site": "cross-site"}, id="without an origin"),
        pytest.param("POST", {"Origin": "null", "Sec-Fetch-Site": "cross-site"}, id="of a frame without an origin"),
        pytest.param("POST", {"Origin": "null"}, id="of a file, in an old browser"),
        pytest.param("POST", {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-site"}, id="of another port"),
        pytest.param("POST", {"Origin": "http://127.0.0.1"}, id="of the default port"),
        pytest.param("POST", {"Origin": "http://localhost:9090"}, id="by another name of ours"),
        pytest.param("POST", {"Origin": ""}, id="an empty one"),
        pytest.param("POST", LINK, id="a form"),
        pytest.param("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, id="an image"),
        pytest.param("GET", LINK | {"Sec-Fetch-Dest": "iframe"}, id="a frame"),
        pytest.param("GET", {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, id="a script"),
        pytest.param("OPTIONS", {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, id="a preflight"),
    ],
)
async def test_what_a_page_of_another_site_caused_is_refused(method: str, headers: dict[str, str]) -> None:
    with capture_logs() as logs:
        refused = await ask(headers, method=method)
    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/problem+json"
    assert "TALLY_ORIGINS" in refused.json()["detail"]
    (warning,) = logs
    assert warning["host"] == "127.0.0.1:9090"
    assert warning["peer"] == "127.0.0.1"
    assert warning.get("origin") == headers.get("Origin")


async def test_an_origin_that_is_named_may_ask() -> None:
    named = {"Origin": DASHBOARD, "Sec-Fetch-Site": "cross-site"}
    for origins in (DASHBOARD, f"https://other.example, {DASHBOARD.upper()}:443", "*"):
        assert (await ask(named, origins=origins)).text == "taken"
    for other in ("https://other.example", DASHBOARD + ":8443", "http://dashboard.example"):
        assert (await ask(named | {"Origin": other}, origins=DASHBOARD)).status_code == 403
    assert (await ask(named | {"Origin": "null"}, origins="null")).text == "taken"


LOOPBACK = (
    "localhost:9090 LOCALHOST localhost. tally.localhost:1 127.0.0.1 127.8.8.8:80 [::1]:9090 [0:0:0:0:0:0:0:1] "
    "[::ffff:127.0.0.1]"
)

OTHERS = (
    "evil.example:9090|localhost.evil.example|127.0.0.1.evil.example|0.0.0.0:9090|192.0.2.1||a b|localhost:x|[::1|"
    "evil.example:9090@localhost|[evil]:80|notlocalhost"
)


@pytest.mark.parametrize("host", LOOPBACK.split(" "))
async def test_loopback_has_its_own_names(host: str) -> None:
    assert (await ask({"Host": host})).text == "taken"
    assert (await ask({"Host": host}, hosts="tally.example.com")).text == "taken"


@pytest.mark.parametrize("host", OTHERS.split("|"))
async def test_a_name_that_somebody_else_lets_lead_here_is_refused(host: str) -> None:
    """The page and we are one site to the browser then, which says so to secure servers alone."""
    for method, said in (
        ("POST", {"Origin": f"http://{host}"}),
        ("POST", {"Sec-Fetch-Site": "same-origin"}),
        ("GET", {}),
        ("HEAD", {}),
    ):
        refused = await ask({"Host": host} | said, method=method)
        assert refused.status_code == 421
        assert method == "HEAD" or "TALLY_HOSTS" in refused.json()["detail"]
    for path in ("/healthz", "/readyz"):
        assert (await ask({"Host": host}, path=path)).text == "taken"
    assert (await ask({"Host": host}, method="POST")).text == "taken", "that was no browser"


async def test_names_are_taken_as_the_setting_says() -> None:
    async def taken(host: str, **options: str) -> bool:
        return (await ask({"Host": host}, **options)).status_code == 200

    assert await taken("anything.example", address="192.0.2.1"), "which names lead there is not known"
    assert await taken("anything.example", hosts="*")
    assert not await taken("evil.example", hosts="tally.example.com", address="192.0.2.1")
    assert await taken("Tally.example.com:443", hosts="other.example, tally.EXAMPLE.com")
    assert await taken("a.example.com", hosts="*.example.com")
    assert not await taken("example.com", hosts="*.example.com")
    assert not await taken("evilexample.com", hosts="*.example.com")
    for written in ("fd00::7", "[fd00::7]", "fd00:0::7"):
        assert await taken("[fd00::7]:9090", hosts=written)


async def test_health_is_open_under_a_path_of_a_proxy_too() -> None:
    for path in ("/healthz", "/tally/healthz"):
        assert (await ask({"Host": "pod.example"}, path=path, root_path="/tally")).text == "taken"
    assert (await ask({"Host": "pod.example"}, path="/tally/v1/types", root_path="/tally")).status_code == 421


async def test_two_headers_do_not_hide_one_another() -> None:
    refused: list[int] = []

    async def send(message: object) -> None:
        if isinstance(message, dict) and message["type"] == "http.response.start":
            refused.append(message["status"])

    allowed = Allowed(origins=parse_origins(DASHBOARD), hosts=frozenset(), origins_setting="O", hosts_setting="H")
    for twice in (
        [(b"host", b"localhost"), (b"host", b"evil.example")],
        [(b"host", b"localhost"), (b"origin", DASHBOARD.encode()), (b"origin", b"https://evil.example")],
        [(b"host", b"localhost"), (b"sec-fetch-site", b"none"), (b"sec-fetch-site", b"cross-site")],
    ):
        scope = {"type": "http", "method": "GET", "path": "/", "headers": twice, "client": None}
        await CrossSite(answer, allowed=allowed)(scope, None, send)  # type: ignore[arg-type]
    assert refused == [421, 403, 403]


@pytest.mark.parametrize(
    "text",
    ["dashboard.example", "https://dashboard.example/", "https://a.example/path", "https://", "https://é.example"],
)
def test_what_is_no_origin_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="is no origin: right is"):
        parse_origins(f"https://good.example, {text}")


@pytest.mark.parametrize("text", ["a.example:9090", "http://a.example", "a.*.example", "a b", "é.example", "[::1]:80"])
def test_what_is_no_name_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="is no name of a host: right is"):
        parse_hosts(text)


def test_loopback_is_known() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.1", "fe80::1%eth0", "localhost")))
