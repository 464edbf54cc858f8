"""Origins and names of hosts, as browsers send them and as settings name them."""

from __future__ import annotations

import re
from collections.abc import Set
from ipaddress import IPv6Address, ip_address

#: Any origin, or any name.
ANY = "*"

_AUTHORITY = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:@/?#\s\[\]]+)(?::([0-9]*))?")

_DEFAULT_PORTS = {"http": "80", "https": "443"}


def parse_origins(text: str) -> frozenset[str]:
    """Return the origins in a setting, with commas between. Raises ValueError with what would be right."""
    return frozenset(map(_parse_origin, _parts(text)))


def parse_hosts(text: str) -> frozenset[str]:
    """Return the names in a setting, with commas between. Raises ValueError with what would be right."""
    return frozenset(map(_parse_host, _parts(text)))


def taken_hosts(hosts: frozenset[str], *, address: str) -> frozenset[str] | None:
    """Return the names to be taken beside those of loopback where an address is listened on; None: any.

    Those of the setting; without any in it none on loopback, which has no other name, and any elsewhere.
    """
    if ANY in hosts or (not hosts and not is_loopback(address)):
        return None
    return hosts


def is_loopback(address: str) -> bool:
    """Return whether this is an IP address that only this machine reaches."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return found.is_loopback or (mapped is not None and mapped.is_loopback)


def is_taken_name(host: str, taken: Set[str]) -> bool:
    """Return whether a header Host names loopback, or one of these names. No loopback name leads elsewhere."""
    name, _ = _split(host)
    if name == "localhost" or name.endswith(".localhost") or is_loopback(name) or name in taken:
        return True
    return any(each.startswith("*.") and name.endswith(each[1:]) for each in taken)


def is_origin_of(host: str, origin: str) -> bool:
    """Return whether a page of this origin was asked for at this host. The scheme may be that of a proxy."""
    scheme, _, authority = origin.lower().partition("://")
    default = _DEFAULT_PORTS.get(scheme, "")
    name, port = _split(authority)
    asked_name, asked_port = _split(host)
    return bool(name) and (name, port or default) == (asked_name, asked_port or default)


def _parts(text: str) -> list[str]:
    return [part for part in map(str.strip, text.split(",")) if part]


def _parse_origin(text: str) -> str:
    if text in (ANY, "null"):
        return text
    scheme, separator, authority = text.lower().partition("://")
    found = _AUTHORITY.fullmatch(authority)
    if not separator or not re.fullmatch("[a-z][a-z0-9+.-]*", scheme) or found is None or not text.isascii():
        raise ValueError(
            f"{text!r} is no origin: right is what a browser sends, a scheme, a host and perhaps a port, as in "
            "https://dashboard.example.com"
        )
    host, port = found.groups()
    return f"{scheme}://{host}" + (f":{port}" if port and port != _DEFAULT_PORTS.get(scheme) else "")


def _parse_host(text: str) -> str:
    if text == ANY:
        return text
    bare = text.removeprefix("*.")
    # An IPv6 address may stand without brackets here.
    name, port = _split(f"[{bare}]" if bare.count(":") > 1 and not bare.startswith("[") else bare)
    if not name or port or "*" in name or not name.isascii():
        raise ValueError(
            f"{text!r} is no name of a host: right is tally.example.com, *.example.com or an address, without a port"
        )
    return f"*.{name}" if text.startswith("*.") else name


def _split(authority: str) -> tuple[str, str]:
    """Return name and port of HOST:PORT, in the form in which names are compared; empty if it is neither."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        return "", ""
    name, port = found[1].strip("[]").lower().removesuffix("."), found[2] or ""
    try:
        return str(ip_address(name)), port
    except ValueError:
        return name, port
