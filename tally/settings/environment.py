"""Where the values of settings come from: the environment, a `.env`, and files named by variables."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

PREFIX = "TALLY_"

ENV_FILE = ".env"

#: Of files that people write: some programs put a byte order mark in front.
TEXT_ENCODING = "utf-8-sig"

#: Variables with our prefix that are docker-compose.yml's, not the services'.
COMPOSE_VARIABLES = frozenset({"TALLY_REDIS_IMAGE", "TALLY_PUBLISH", "TALLY_IMAGE"})


class SettingsError(Exception):
    """A setting that cannot be used; the text has a line for each, and says what would be right."""


class SettingsGroup(BaseSettings, defer_build=True):
    """A part of all settings. Nobody reads it by itself, so no validator is built for it: each would take 5 ms."""


class SecretFiles(PydanticBaseSettingsSource):
    """`TALLY_X_FILE=/run/secrets/x` gives `x` the text of that file, without the line end."""

    def __init__(self, settings_cls: type[BaseSettings], variables: Mapping[str, str | None]) -> None:
        super().__init__(settings_cls)
        self._variables = {name.upper(): value for name, value in variables.items()}  # as all that is a setting

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        variable = f"{PREFIX}{field_name.upper()}_FILE"
        path = self._variables.get(variable)
        if path is None:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding=TEXT_ENCODING).rstrip("\r\n"), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{variable}={path}: cannot be read: {error}") from error

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def files_for_emptied() -> dict[str, str]:
    """Return the variables that name a file where the variable itself is set to nothing: the file is what counts then.

    So docker-compose.yml takes back what an .env has for elsewhere; it cannot unset a variable of one.
    """
    files = {name: path for name, path in os.environ.items() if name.endswith("_FILE")}
    return {name: path for name, path in files.items() if os.environ.get(name.removesuffix("_FILE")) == ""}


def file_of(variable: str) -> str | None:
    """Return the path of the file that gave this variable its value; None if it was given itself."""
    for variables in (files_for_emptied(), os.environ, dotenv_values(ENV_FILE)):
        found = {name.upper(): value for name, value in variables.items()}
        if variable in found:
            return None
        if (path := found.get(f"{variable}_FILE")) is not None:
            return path
    return None


def without_effect(settings: Iterable[str]) -> list[str]:
    """Return a sentence for each variable with our prefix that is no setting, most likely by a slip, or is not read."""
    known = {PREFIX + name.upper() for name in settings}
    known |= {name + "_FILE" for name in known} | COMPOSE_VARIABLES
    sentences, emptied = [], files_for_emptied().keys()
    for variable in sorted({*os.environ, *dotenv_values(ENV_FILE)}):
        if variable.startswith(PREFIX) and variable not in known:
            near = difflib.get_close_matches(variable, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            sentences.append(f"{variable} is not a setting{hint}")
        # As in docker-compose.yml, which sets TALLY_REDIS_URL itself. (That it wins over .env is meant.)
        elif variable.endswith("_FILE") and {variable, variable.removesuffix("_FILE")} <= os.environ.keys() - emptied:
            sentences.append(f"{variable} is not read, because {variable.removesuffix('_FILE')} is set")
    return sentences
