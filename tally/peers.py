"""Whose connections are whose: what is shared out among clients is shared out by their addresses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

#: How much of an IPv6 address a network gives to one customer, in bits: the rest that client makes up as it likes.
IPV6_PREFIX = 64


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return addresses and networks with commas between. Raises ValueError with what would be right."""
    networks = []
    for each in filter(None, map(str.strip, text.split(","))):
        try:
            networks.append(ip_network(each))
        except ValueError as error:
            raise ValueError(
                f"{error}; right are addresses or networks with commas between, as in 10.0.0.7, 10.1.0.0/16, fd00::/8"
            ) from None
    return tuple(networks)


class Peers:
    """Tells clients apart. An address that many share, as that of a proxy in front of them, is no client's."""

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = tuple(trusted)
        self._of = lru_cache(maxsize=4096)(self._find)

    def of(self, address: str | None) -> str | None:
        """Return what all connections of this client have in common; None if its address does not tell."""
        return self._of(address)

    def _find(self, address: str | None) -> str | None:
        try:
            ip = ip_address((address or "").partition("%")[0])
        except ValueError:
            return None  # a unix socket has none
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        if any(ip in network for network in self._trusted):
            return None
        if isinstance(ip, IPv6Address):
            return str(IPv6Network((ip, IPV6_PREFIX), strict=False))
        return str(ip)
