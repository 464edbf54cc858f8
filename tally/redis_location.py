"""Where Redis is: as set, else the embedded server of a data folder, else this machine's."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from tally.redis_urls import is_redis_url
from tally.settings import Settings
from tally.shards import MOST_SHARDS

DEFAULT_URL = "redis://127.0.0.1:6379/0"

#: In a data folder, how the embedded server is reached; gone when the server is.
URL_FILE = "redis.url"

#: In a data folder, how many shards its server has, if there are several of them, or of nodes.
SHARDS_FILE = "shards"

#: In the folder of a data folder whose server is several nodes, that of the first.
FIRST_NODE_FOLDER = "node-1"

#: In the data folder, that of a server for made-up events alone: they are in nobody's counts, and easily removed.
DEMO_FOLDER = "demo"

#: The namespace of those events, unless one is set: nobody takes their keys for counts of their own.
DEMO_NAMESPACE = "demo"


def redis_url(settings: Settings) -> str:
    """Return where Redis is: as set, else the server that `tally up` runs in the data folder, else this machine's.

    In the data folder there may be two: one for made-up events alone is asked if there is no other.
    """
    if settings.redis_url is not None:
        return settings.redis_url
    return _url_in(settings.data_dir) or _url_in(settings.data_dir / DEMO_FOLDER) or DEFAULT_URL


def is_demo(settings: Settings) -> bool:
    """Return whether `redis_url` is that of the server for made-up events, whose counts are thrown away some day."""
    return settings.redis_url is None and redis_url(settings) == _url_in(settings.data_dir / DEMO_FOLDER)


def is_at_rest(settings: Settings) -> bool:
    """Return whether the data folder has the data of a server of ours that does not run."""
    return (
        settings.redis_url is None
        and _url_in(settings.data_dir) is None
        and any((settings.data_dir / folder / "appendonlydir").is_dir() for folder in (".", FIRST_NODE_FOLDER))
    )


def with_server_found(settings: Settings) -> Settings:
    """Return the settings with what the data folder's server has, of what is not set: shards, and a namespace.

    Where Redis is set, nothing is looked for.
    """
    if settings.redis_url is not None:
        return settings
    demo = settings.data_dir / DEMO_FOLDER
    is_of_demo = _url_in(settings.data_dir) is None and _url_in(demo) is not None
    found: dict[str, Any] = {"shards": shards_in(demo if is_of_demo else settings.data_dir) or 1}
    if is_of_demo:
        found["namespace"] = DEMO_NAMESPACE
    return settings.model_copy(
        update={name: value for name, value in found.items() if name not in settings.model_fields_set}
    )


def shards_in(folder: Path) -> int | None:
    """Return how many shards the server of a data folder has; None if that is not written there."""
    with suppress(OSError, ValueError):
        shards = int((folder / SHARDS_FILE).read_text(encoding="ascii"))
        if 1 <= shards <= MOST_SHARDS:
            return shards
    return None


def _url_in(folder: Path) -> str | None:
    """Return the URL of the server that runs in this folder; None if none does."""
    with suppress(OSError, UnicodeDecodeError):
        url = (folder / URL_FILE).read_text(encoding="utf-8").strip()
        if is_redis_url(url):
            return url
    return None
