"""How long each command and script held a server, read off its SLOWLOG."""

from __future__ import annotations

from collections import Counter, defaultdict
from hashlib import sha1
from typing import Any

import redis

from tally.store.lua import SCRIPTS, assembled

#: More commands than these, and the first ones are forgotten.
_ENTRIES = 1_000_000

_NAME = "holding"


class Holding:
    """Watches a server from now on."""

    def __init__(self, port: int, *, slower_than_seconds: float = 0.0) -> None:
        # It gives bytes: what it tells of a command may be cut anywhere.
        self._client: Any = redis.Redis(port=port, socket_timeout=300, client_name=_NAME)
        self._client.config_set("slowlog-max-len", _ENTRIES)
        self._client.config_set("slowlog-log-slower-than", int(slower_than_seconds * 1e6))
        self._client.slowlog_reset()

    def seconds(self) -> dict[str, list[float]]:
        """Return how long every call took since then, by kind: a script's file name, or a command. Raises RuntimeError
        if there were too many to tell.

        What a script calls is told by itself, too, and is in the script's time; likewise with a transaction and EXEC.
        """
        scripts = _Scripts()
        found: dict[str, list[float]] = defaultdict(list)
        unknown: Counter[str] = Counter()
        entries = self._client.slowlog_get(-1)
        if len(entries) >= _ENTRIES:
            raise RuntimeError(f"over {_ENTRIES:,} commands: ask for the slower ones only")
        for entry in entries:
            if entry["client_name"] != _NAME.encode():
                kind = scripts.kind(entry["command"])
                found[kind].append(entry["duration"] / 1e6)
                unknown[kind] += entry["command"].startswith((b"EVAL ", b"EVAL_RO "))
        # Before each of these the script was asked for by its hash, and not known: that was no run of it.
        return {kind: sorted(seconds)[min(unknown[kind], len(seconds) - 1) :] for kind, seconds in found.items()}

    def close(self) -> None:
        """Stop watching."""
        self._client.config_set("slowlog-log-slower-than", -1)
        self._client.slowlog_reset()
        self._client.close()


class _Scripts:
    """Tells which script a command runs."""

    def __init__(self) -> None:
        names = [file.name for file in SCRIPTS.iterdir() if file.name.endswith(".lua")]
        texts = {name: assembled(name.removesuffix(".lua")).encode() for name in names}
        self._by_sha = {sha1(text, usedforsecurity=False).hexdigest(): name for name, text in texts.items()}
        self._by_head = {text[:64]: name for name, text in texts.items()}

    def kind(self, command: bytes) -> str:
        verb, _, rest = command.partition(b" ")
        name = verb.decode().upper()
        if name.startswith("EVALSHA"):
            return self._by_sha.get(rest[:40].decode(), name)
        if name.startswith("EVAL"):
            return self._by_head.get(rest[:64], name)
        if name in ("XGROUP", "XINFO", "CONFIG", "CLIENT", "SCRIPT", "SLOWLOG", "COMMAND", "ACL"):
            return f"{name} {rest.partition(b' ')[0].decode().upper()}"
        return name
