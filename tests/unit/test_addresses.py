"""Where sources listen, as text: what is wrong is said with what would be right."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ingestor.sources.addresses import TcpAddress, UnixAddress, parse_address, parse_unix
from ingestor.sources.http import parse_http
from ingestor.sources.sockets import parse_socket
from tally.runtime import Failure
from tests.server import free_port


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:9000", TcpAddress("127.0.0.1", 9000)),
        ("tcp://[::1]:9000", TcpAddress("::1", 9000)),
        ("tls://localhost:0", TcpAddress("localhost", 0)),
        ("http://0.0.0.0:8080/", TcpAddress("0.0.0.0", 8080)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: TcpAddress) -> None:
    assert parse_address(text) == address
    assert (parse_http if text.startswith("http") else parse_socket)(text).label == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tcp:", "names no host; it is tcp://HOST:PORT"),
        ("tcp://:9000", "0.0.0.0 is every address"),
        ("tcp://localhost", "names no port"),
        ("tcp://localhost:99999", "it is tcp://HOST:PORT, as in tcp://127.0.0.1:9000 or tcp://[::1]:9000"),
        ("tcp://localhost:http", "it is tcp://HOST:PORT"),
        ("tcp://::1:9000", "it is tcp://HOST:PORT"),
        ("http://localhost:1/events", "has more than a host and a port"),
        ("http://me@localhost:1", "has more than a host and a port"),
    ],
)
def test_what_is_no_address_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("[", r"\[").replace(".", r"\.")):
        parse_address(text)


def test_a_unix_path_is_absolute_and_fits_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_unix("unix:tally.sock") == UnixAddress(tmp_path / "tally.sock")
    assert parse_unix("unix:///run/tally.sock") == UnixAddress(Path("/run/tally.sock"))
    with pytest.raises(ValueError, match="at most 107 bytes"):
        parse_unix("unix:/" + "x" * 107)
    with pytest.raises(ValueError, match="unix:PATH, as in"):
        parse_unix("unix:")


def test_a_stale_unix_socket_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    address = UnixAddress(tmp_path / "s")
    address.listen().close()
    assert address.path.is_socket(), "left behind, as by a kill"
    with address.listen():
        assert address.path.stat().st_mode & 0o777 == 0o660
        with pytest.raises(Failure, match="another process does"):
            address.listen()
    address.path.unlink()
    address.path.write_text("mine")
    with pytest.raises(Failure, match="something that is no socket"):
        address.listen()
    assert address.path.read_text() == "mine"
    with pytest.raises(Failure, match="cannot listen on unix:"):
        UnixAddress(tmp_path / "missing" / "s").listen()


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as other:
        port = other.getsockname()[1]
        with pytest.raises(Failure, match=f"cannot listen on 127.0.0.1 port {port}: .*name another HOST:PORT"):
            TcpAddress("127.0.0.1", port).listen()
