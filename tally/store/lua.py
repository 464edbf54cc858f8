"""The scripts: how the text of each is put together, and how it is run.

A script is a .lua file in tally/store/scripts. A line `--- @include NAME` in it stands for the text of NAME.lua there,
once, however often it is included. ARGV[1] is a JSON object with the arguments by name: JSON, for SLOWLOG and MONITOR
then show them. What follows are values that are long or are no text (blocks, digests), as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import msgspec
from redis import exceptions

from tally.keys import Keys
from tally.store.client import errors_translated, execute
from tally.store.measured import SCRIPT_NAMES

SCRIPTS = files("tally.store") / "scripts"

_INCLUDE = re.compile(r"^--- @include (\w+)$", re.MULTILINE)

#: Commands that are several: their permission is that of the second word.
_CONTAINERS = frozenset({"XGROUP", "XINFO"})

_CALL = re.compile(r"redis\.p?call\('([A-Z]+)'(?:, '([A-Z]+)')?")

_encode = msgspec.json.Encoder().encode

#: Values behind the arguments, one argument of EVALSHA each.
Values = Sequence[str | bytes | int]


class IncludeError(Exception):
    """A script includes a file that is not there, or one that includes it in turn."""


def assembled(name: str, *, folder: Traversable = SCRIPTS) -> str:
    """Return the text of a script with all that it includes. Raises IncludeError."""
    return _with_includes(name, folder, (), set())


def _with_includes(name: str, folder: Traversable, including: tuple[str, ...], included: set[str]) -> str:
    if name in including:
        raise IncludeError(f"circular include: {' -> '.join((*including, name))}")
    if name in included:
        return ""
    included.add(name)
    try:
        text = own_text(name, folder=folder)
    except FileNotFoundError:
        by = f", which {including[-1]}.lua includes" if including else ""
        raise IncludeError(f"there is no {name}.lua{by}") from None
    return _INCLUDE.sub(lambda found: _with_includes(found[1], folder, (*including, name), included).rstrip(), text)


def own_text(name: str, *, folder: Traversable = SCRIPTS) -> str:
    """Return the text of a script without what it includes."""
    return (folder / f"{name}.lua").read_text(encoding="utf-8")


def calls_of(text: str) -> list[tuple[str, ...]]:
    """Return the commands that a script's text calls, each once: of one word, or of two."""
    found = ((each[1], each[2] if each[1] in _CONTAINERS else None) for each in _CALL.finditer(text))
    return [tuple(filter(None, words)) for words in dict.fromkeys(found)]


@dataclass(frozen=True, slots=True)
class LayoutCheck:
    """What a script that writes is given to compare the stored layout with, and to store where there is none."""

    keys: Keys
    fields: Mapping[str, str]


class _Script:
    """A script, sent by its hash; as text where the server does not know that."""

    _evalsha, _eval = "EVALSHA", "EVAL"

    def __init__(self, name: str) -> None:
        self.text = assembled(name)
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        SCRIPT_NAMES.update({self.sha: name, self.text: name})

    @property
    def commands(self) -> list[tuple[str, ...]]:
        """What it calls: commands of one word, or of two."""
        return calls_of(self.text)

    async def _run(self, redis: Any, call: Sequence[Any]) -> Any:
        with errors_translated(), self._commands_named():
            try:
                return await redis.execute_command(self._evalsha, self.sha, *call)
            except exceptions.NoScriptError:
                return await redis.execute_command(self._eval, self.text, *call)

    @contextmanager
    def _commands_named(self) -> Iterator[None]:
        """Name the commands of which our user may not run one: Redis 7.0 does not say which it is."""
        try:
            yield
        except exceptions.ResponseError as error:
            if "can't run this command" not in str(error):
                raise
            names = " or ".join(" ".join(words).lower() for words in self.commands)
            raise exceptions.NoPermissionError(f"no permissions to run the '{names}' command: {error}") from error


class LayoutScript(_Script):
    """A script that writes the layout itself."""

    async def run(self, redis: Any, keys: Sequence[str], arguments: Mapping[str, Any]) -> Any:
        """Run it once. Raises as errors_translated does."""
        return await self._run(redis, (len(keys), *keys, _encode(arguments)))


class ReadingScript(LayoutScript):
    """A script that writes nothing. It runs as EVALSHA_RO, which a user who may only read may, and on a replica too."""

    _evalsha, _eval = "EVALSHA_RO", "EVAL_RO"


class WritingScript(_Script):
    """A script that writes, and begins by comparing the layout: it includes layout_library.lua."""

    async def run(
        self,
        redis: Any,
        keys: Sequence[str],
        arguments: Mapping[str, Any],
        values: Values = (),
        *,
        layout: LayoutCheck,
    ) -> Any:
        """Run it once. Raises as errors_translated does."""
        return await self._run(redis, self.call(keys, arguments, values, layout=layout))

    async def run_each(
        self,
        redis: Any,
        calls: Iterable[tuple[Sequence[str], Mapping[str, Any], Values]],
        *,
        layout: LayoutCheck,
    ) -> list[Any]:
        """Run it for each of these calls, in order and in one round trip; each run is atomic by itself.

        Where the server does not know the script, or forgets it in the middle, it runs for all of them again: only for
        scripts that may be repeated. Raises as errors_translated does, with the first error.
        """
        calls = list(calls)
        pipeline = redis.pipeline(transaction=False)
        for keys, arguments, values in calls:
            pipeline.evalsha(self.sha, *self.call(keys, arguments, values, layout=layout))
        with errors_translated(), self._commands_named():
            try:
                return await execute(pipeline)
            except exceptions.NoScriptError:
                await redis.script_load(self.text)
        return await self.run_each(redis, calls, layout=layout)

    @staticmethod
    def call(
        keys: Sequence[str], arguments: Mapping[str, Any], values: Values = (), *, layout: LayoutCheck
    ) -> tuple[Any, ...]:
        """Return what EVALSHA takes behind the hash: the number of keys, the keys, the arguments, the values."""
        at = layout.keys
        packed = _encode({**arguments, "layout": layout.fields})
        return (len(keys) + 2, *keys, at.absent, at.layout, packed, *values)
