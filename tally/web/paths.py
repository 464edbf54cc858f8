"""The path of a request: below the one under which a proxy has the service, and as it is logged."""

from __future__ import annotations

from starlette.types import Scope

from tally.printing import printable

#: Characters of a path that are logged.
_MAX_CHARACTERS = 200


def path_below_root(scope: Scope) -> str:
    """Return the path without the `root_path`, as routes see it; empty for that path itself.

    A path that is not below it is returned whole.
    """
    path: str = scope["path"]
    root_path = scope.get("root_path", "")
    below = path.removeprefix(root_path)
    return below if below == "" or below.startswith("/") else path


def logged_path(scope: Scope) -> str:
    """Return the path as it may be logged: without its query, in which a token may stand."""
    return printable(scope["path"])[:_MAX_CHARACTERS]
