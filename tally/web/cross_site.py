"""Which requests an HTTP server of ours takes from browsers: none that a page of another site caused.

A browser reaches what its user reaches, also servers that listen on this machine alone, and sends them what any page
tells it to. Two things must not come of that:

- **A page of another site asks.** Browsers say so in `Sec-Fetch-Site`, which no page can set, and in `Origin`, which
  comes with every POST. Its answers would be kept from that page, but a POST would have been taken. A link may lead
  here from anywhere: the person who follows it sees the page, and the other site does not.
- **A page's own name leads here.** The owner of the name may answer this machine's address for it (DNS rebinding), and
  to the browser the page and we are then one site. But `Host` has that name, and no name of ours.

What comes from no browser says none of this, and is taken: it is the token's to keep out. So a program may POST by any
name; but its GET, which a browser might have sent as well, needs one of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from tally.log_throttle import LogThrottle
from tally.origins import ANY, is_origin_of, is_taken_name
from tally.printing import printable
from tally.web.log_events import REQUEST_REFUSED
from tally.web.paths import logged_path
from tally.web.problem_answers import problem
from tally.web.problem_types import CROSS_SITE_REQUEST, HOST_NOT_ALLOWED, ProblemType

#: The headers that are read.
_READ = frozenset({b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"})

#: They, as they came.
_Said = tuple[tuple[bytes, bytes], ...]

#: How long they may be together for what is made of them to be remembered.
MAX_REMEMBERED_BYTES = 512

#: Bytes of a refused header that are logged.
_LOGGED_BYTES = 200


@dataclass(frozen=True, slots=True)
class _Refusal:
    type: ProblemType
    detail: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """The origins and names that are taken beside our own, and the settings in which they stand.

    `hosts` of None are any; loopback names are always ours.
    """

    origins: frozenset[str]
    hosts: frozenset[str] | None
    origins_setting: str
    hosts_setting: str


class CrossSite:
    """Answers 403 to what a page of another site caused, and 421 to what came by another name."""

    def __init__(self, app: ASGIApp, *, allowed: Allowed, root_path: str = "") -> None:
        self._app = app
        self._allowed = allowed
        self._root_path = root_path
        self._open_paths = {"/healthz", "/readyz", f"{root_path}/healthz", f"{root_path}/readyz"}
        self._log = LogThrottle()
        # Nearly all requests say the same: a look-up costs a tenth of what looking does.
        self._remembered = lru_cache(maxsize=256)(self._refusal)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the request, or refuse it with problem details."""
        if scope["type"] == "http":
            said = tuple([header for header in scope["headers"] if header[0] in _READ])
            short = sum([len(value) for _, value in said]) <= MAX_REMEMBERED_BYTES
            refusal = (self._remembered if short else self._refusal)(
                scope["method"], scope["path"] in self._open_paths, said
            )
            if refusal is not None:
                self._tell(scope, said, refusal.type)
                response = problem(refusal.type, refusal.detail)
                await response({**scope, "root_path": self._root_path}, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, method: str, open_path: bool, said: _Said) -> _Refusal | None:
        allowed = self._allowed
        headers: dict[str, list[str]] = {}
        for name, value in said:
            headers.setdefault(name.decode(), []).append(value.decode("latin-1"))
        # With a GET a browser need not say that it is one; with all else it names the origin.
        may_be_browser = method in ("GET", "HEAD") or "origin" in headers or "sec-fetch-site" in headers
        if may_be_browser and not open_path and not self._is_ours(headers.get("host", [])):
            return _Refusal(
                HOST_NOT_ALLOWED,
                f"the header Host names neither this machine's loopback nor a name in {allowed.hosts_setting}; "
                "if it should, add it there",
            )
        if not self._is_from_here(method, headers):
            return _Refusal(
                CROSS_SITE_REQUEST,
                f"only origins in {allowed.origins_setting} may ask from a browser; if this one should, add it there",
            )
        return None

    def _is_ours(self, hosts: list[str]) -> bool:
        taken = self._allowed.hosts
        return taken is None or all(is_taken_name(host, taken) for host in hosts)

    def _is_from_here(self, method: str, headers: Mapping[str, list[str]]) -> bool:
        origins = [origin.lower() for origin in headers.get("origin", [])]
        sites = headers.get("sec-fetch-site", [])
        if ANY in self._allowed.origins or (origins and self._allowed.origins.issuperset(origins)):
            return True
        if sites and all(site in ("same-origin", "none") for site in sites):
            # Also behind a proxy that asks us by another name than it was asked by.
            return True
        if "cross-site" in sites:
            return _is_link_followed(method, headers)
        hosts = headers.get("host", [])
        return all(is_origin_of(host, origin) for origin in origins for host in hosts) and bool(hosts or not origins)

    def _tell(self, scope: Scope, said: _Said, type_: ProblemType) -> None:
        headers: dict[str, str] = {}
        for name, value in said:
            if name in (b"host", b"origin", b"sec-fetch-site"):
                shown = printable(value[:_LOGGED_BYTES].decode("latin-1"))
                headers[name.decode().replace("-", "_")] = shown
        self._log.warning(
            f"{REQUEST_REFUSED} with {type_.status}",
            title=type_.title,
            method=scope["method"],
            path=logged_path(scope),
            peer=(scope.get("client") or ("",))[0],
            **headers,
        )


def _is_link_followed(method: str, headers: Mapping[str, list[str]]) -> bool:
    """Return whether a browser shows the answer in a window of its own, of which the other site sees nothing."""
    return (
        method in ("GET", "HEAD")
        and headers.get("sec-fetch-mode") == ["navigate"]
        and headers.get("sec-fetch-dest") == ["document"]
    )
