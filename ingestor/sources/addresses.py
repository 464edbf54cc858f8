"""Where a source listens: `SCHEME://HOST:PORT` or `unix:PATH`."""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tally.runtime import Failure
from tally.settings import Settings
from tally.web.listening import ACCEPT_BACKLOG, listen

#: Who may connect to a unix socket: its owner and its group.
UNIX_MODE = 0o660

#: What fits the kernel's address of a unix socket.
MAX_UNIX_PATH_BYTES = 107


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host (a name or an address; IPv6 without brackets) and a port; 0 lets the kernel choose one."""

    host: str
    port: int

    def listen(self) -> socket.socket:
        """Bind and listen. Raises Failure when the port cannot be had."""
        return listen(self.host, self.port, hint="name another HOST:PORT in TALLY_SOURCE, or stop who has it")


def parse_address(text: str) -> TcpAddress:
    """Read the address in `SCHEME://HOST:PORT`. Raises ValueError with what is wrong and what would be right."""
    scheme = text.partition(":")[0]
    right = f"it is {scheme}://HOST:PORT, as in {scheme}://127.0.0.1:9000 or {scheme}://[::1]:9000"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}; {right}") from None
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{text!r} has more than a host and a port; {right}")
    if not host:
        raise ValueError(f"{text!r} names no host; {right}; 0.0.0.0 is every address of this machine")
    if port is None:
        raise ValueError(f"{text!r} names no port; {right}")
    return TcpAddress(host, port)


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The path of a unix socket."""

    path: Path

    def listen(self) -> socket.socket:
        """Bind and listen; a socket on which no process listens any more is replaced.

        Raises Failure when one does, when something else is there, or it may not be made.
        """
        self._remove_stale()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            mask = os.umask(0o777 & ~UNIX_MODE)  # no other user may connect, not even before a chmod
            try:
                listener.bind(str(self.path))
            finally:
                os.umask(mask)
            listener.listen(ACCEPT_BACKLOG)
        except OSError as error:
            listener.close()
            raise Failure(f"cannot listen on unix:{self.path}: {error.strerror}") from error
        return listener

    def remove(self) -> None:
        """Remove the file of a socket that is closed."""
        with suppress(OSError):
            self.path.unlink()

    def _remove_stale(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_socket():
            raise Failure(f"cannot listen on unix:{self.path}: there is something that is no socket; remove it")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(self.path))
            except ConnectionRefusedError:
                self.remove()
                return
            except OSError as error:
                raise Failure(f"cannot listen on unix:{self.path}: {error.strerror or error}") from error
        raise Failure(f"cannot listen on unix:{self.path}: another process does; stop it or name another path")


def parse_unix(text: str) -> UnixAddress:
    """Read the path in `unix:PATH`. Raises ValueError with what is wrong and what would be right."""
    path = text.removeprefix("unix:")
    if not path.strip("/"):
        raise ValueError(f"{text!r} names no file; it is unix:PATH, as in unix:/run/tally.sock")
    absolute = Path(path).absolute()
    if len(os.fsencode(absolute)) > MAX_UNIX_PATH_BYTES:
        raise ValueError(f"{text!r}: the path of a unix socket has at most {MAX_UNIX_PATH_BYTES} bytes; shorten it")
    return UnixAddress(absolute)


def tls_context(settings: Settings, *, source: str) -> ssl.SSLContext:
    """Set up TLS with the certificate of the settings. Raises Failure when there is none, or it cannot be used."""
    certificate, key = settings.tls_certificate_path, settings.tls_key_path
    if certificate is None:
        raise Failure(f"{source} needs a certificate: set TALLY_TLS_CERTIFICATE_PATH, and TALLY_TLS_KEY_PATH")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise Failure(
            f"{source}: TALLY_TLS_CERTIFICATE_PATH={certificate} and TALLY_TLS_KEY_PATH={key} cannot be used: {error}"
        ) from error
    return context
