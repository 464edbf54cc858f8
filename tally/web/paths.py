"""The path of a request below the one under which a proxy has the service."""

from __future__ import annotations

from starlette.types import Scope


def path_below_root(scope: Scope) -> str:
    """Return the path without the `root_path`, as routes see it; empty for that path itself.

    A path that is not below it is returned whole.
    """
    path: str = scope["path"]
    root_path = scope.get("root_path", "")
    below = path.removeprefix(root_path)
    return below if below == "" or below.startswith("/") else path
