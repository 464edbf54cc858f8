"""What of an event is counted, how long it is kept, and when an aggregator takes over what another one holds."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from tally import fields
from tally.settings.environment import TEXT_ENCODING, SettingsGroup
from tally.shards import MOST_SHARDS, parse_some_shards
from tally.windows import WindowLength, parse_window_lengths
from tally.words import DEFAULT_WORD_PATTERN, compile_word_pattern
from tally.words_by_type import WordsByType, parse_words_by_type


class CountingSettings(SettingsGroup):
    """What an aggregator needs besides Redis; the api reads some of it, too."""

    windows: str = Field(
        "60x360,3600x336,86400x400",
        description="Windows: seconds x how many are kept, shortest first, each a multiple of the one before",
    )
    max_types: int = Field(
        10_000, ge=1, le=10_000_000, description="Distinct event types; the rest counts as `__other__`"
    )
    max_words: int = Field(1_000_000, ge=1, le=100_000_000, description="Distinct words of all time; likewise")
    max_window_words: int = Field(50_000, ge=1, le=10_000_000, description="Distinct words in one window; likewise")
    words_by_type: str = Field(
        "",
        description="Types whose words are also counted apart: a number, for so many that come first, or the types "
        "with commas between; empty: none",
    )
    max_type_words: int = Field(
        10_000,
        ge=1,
        le=10_000_000,
        description="Distinct words of one of these types, over all time and in one window each; the rest counts as "
        "`__other__`",
    )
    max_sources: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Sources whose lines are counted by name: files by their paths, connections by their address; the "
        "rest counts as `__other__`",
    )
    max_name_bytes: int = Field(
        256,
        ge=1,
        le=65_536,
        description="UTF-8 bytes in an event type or a word; a longer one counts as `__other__`",
    )
    max_rejected_samples: int = Field(
        1000,
        ge=0,
        le=1_000_000,
        description="Rejected lines kept as samples; of those counted together the newest 20 at the most",
    )
    accepted_samples: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Accepted lines kept as samples, the first KiB of each as it came, with what people have put into "
        "it; of those counted together the newest 5 at the most; 0: none",
    )
    fold_case: bool = Field(False, description="Count words without regard to case")
    word_pattern: str = Field(
        DEFAULT_WORD_PATTERN,
        description="What a word is: a Python regular expression, applied between white space, in which `\\p{Mn}` and "
        "`\\p{Mc}` are combining marks",
    )
    normalize_words: bool = Field(
        True,
        description="Count a word in one form (Unicode's NFC), whether a letter and its mark are one character or two",
    )
    stop_words: str = Field(
        "", description="Words that are not counted, with commas between; or @FILE with white space between"
    )
    min_word_length: int = Field(1, ge=1, le=1000, description="Characters in a word; a shorter one is not counted")

    type_field: str = Field(
        "event_type",
        description="The field with an event's type: a name, or a path such as repo.name; see docs/fields.md",
    )
    text_field: str = Field(
        "data",
        validate_default=True,  # it may contradict the others
        description="The field with an event's text; several with commas between; empty: no words are counted",
    )
    time_field: str = Field(
        "timestamp",
        validate_default=True,
        description="The field with an event's time; empty: its arrival is its time",
    )
    time_unit: Literal["seconds", "milliseconds", "microseconds", "nanoseconds"] | None = Field(
        None,
        description="What a time that is a number counts: seconds, milliseconds, microseconds or nanoseconds. If set, "
        "the number may also stand in a string. Unset: seconds, and numbers only. RFC 3339 is always understood",
    )

    claim_idle_seconds: float = Field(
        15.0,
        ge=0.1,
        le=86_400,
        description="How long a block may be pending to an idle aggregator before another claims it; after the n-th "
        "try n times as long",
    )
    max_deliveries: int = Field(
        5,
        ge=1,
        le=1000,
        description="Times a block is given to an aggregator before it goes to the dead letters",
    )

    aggregate_shards: str = Field(
        "",
        validate_default=True,  # there may be fewer
        description="Which shards an aggregator serves, from 0, as in 0,2-5; empty: all",
    )

    @field_validator("windows")
    @classmethod
    def _windows_are_lengths(cls, value: str) -> str:
        parse_window_lengths(value)
        return value

    @field_validator("word_pattern")
    @classmethod
    def _word_pattern_compiles(cls, value: str) -> str:
        try:
            pattern = compile_word_pattern(value)
        except re.error as error:
            hint = r"; of \p{…} there are \p{Mn} and \p{Mc}" if r"\p" in str(error) else ""
            raise ValueError(f"not a regular expression: {error}{hint}") from None
        if pattern.match(""):
            raise ValueError("it matches the empty word; end it with + rather than *")
        return value

    @field_validator("type_field", "text_field", "time_field")
    @classmethod
    def _fields_are_paths(cls, value: str, info: ValidationInfo) -> str:
        fields.check_setting(str(info.field_name), value, before=info.data)
        return value

    @field_validator("time_unit", mode="before")
    @classmethod
    def _time_unit_may_be_empty(cls, value: object) -> object:
        return None if value == "" else value  # as docker-compose.yml passes on what is unset

    @field_validator("aggregate_shards")
    @classmethod
    def _shards_are_there(cls, value: str, info: ValidationInfo) -> str:
        parse_some_shards(value, shards=info.data.get("shards", MOST_SHARDS))
        return value

    @field_validator("words_by_type")
    @classmethod
    def _words_by_type_are_types(cls, value: str) -> str:
        parse_words_by_type(value)
        return value

    @field_validator("stop_words")
    @classmethod
    def _stop_words_are_read(cls, value: str) -> str:
        if not value.startswith("@"):
            return value
        try:
            # As if they had been given with commas: the file is read once, here. The first comma is there
            # so that a word that begins with @ is not taken for another file.
            return "," + ",".join(Path(value[1:]).read_text(encoding=TEXT_ENCODING).replace(",", " ").split())
        except (OSError, ValueError) as error:
            raise ValueError(f"the file cannot be read: {error}") from None

    @cached_property
    def type_path(self) -> fields.Path:
        return fields.parse_one(self.type_field)

    @cached_property
    def text_paths(self) -> tuple[fields.Path, ...]:
        return fields.parse_paths(self.text_field)

    @cached_property
    def time_path(self) -> fields.Path | None:
        return fields.parse_one(self.time_field) if self.time_field.strip() else None

    @cached_property
    def stop_word_set(self) -> frozenset[str]:
        return frozenset(word for word in map(str.strip, self.stop_words.split(",")) if word)

    @cached_property
    def types_with_words(self) -> WordsByType:
        return parse_words_by_type(self.words_by_type)

    @cached_property
    def window_lengths(self) -> tuple[WindowLength, ...]:
        return parse_window_lengths(self.windows)
