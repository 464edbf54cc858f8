"""Cuts between addresses of loopback: what goes from one to another is lost, and both sides run on."""

from __future__ import annotations

import functools
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager


def addresses(count: int) -> list[str]:
    """Return addresses of loopback that no other process of tests uses, so that its cuts are its own."""
    high, low = divmod(os.getpid() % 65_536, 256)
    return [f"127.{high}.{low}.{at + 2}" for at in range(count)]


@contextmanager
def cut(one: str, others: Sequence[str]) -> Iterator[None]:
    """Lose what goes between one address and the others, both ways. 127.0.0.1 reaches all of them."""
    assert "127.0.0.1" not in (one, *others)
    with ExitStack() as stack:
        for source, destination in ((one, ",".join(others)), (",".join(others), one)):
            rule = ("INPUT", "-s", source, "-d", destination, "-j", "DROP")
            _iptables("-I", *rule)
            stack.callback(_iptables, "-D", *rule)
        yield


@functools.cache
def why_not() -> str | None:
    """Return why nothing can be cut here; None if it can, which is tried."""
    if shutil.which("iptables") is None:
        return "there is no iptables"
    if os.geteuid() != 0:
        return "only root may change the rules of iptables"
    one, other = addresses(2)
    try:
        if not _reaches(one, other):
            return "addresses of loopback do not reach each other"
        with cut(one, [other]):
            if _reaches(one, other) or _reaches(other, one):
                return "iptables takes rules, but they do nothing"
    except subprocess.CalledProcessError as error:
        return f"iptables does not work here: {error.stderr.strip()}"
    except OSError as error:
        return f"loopback has no other addresses: {error}"
    return None


def _reaches(one: str, other: str) -> bool:
    with socket.create_server((other, 0)) as server:
        try:
            socket.create_connection(server.getsockname(), timeout=0.5, source_address=(one, 0)).close()
        except TimeoutError:
            return False
    return True


def _iptables(*words: str) -> None:
    # It waits for others that change rules at the moment.
    subprocess.run(["iptables", "-w", "30", *words], check=True, capture_output=True, text=True)
