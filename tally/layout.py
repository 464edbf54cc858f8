"""The layout: what the counts in Redis depend on besides the events themselves.

Two aggregators with windows of other lengths, other fields or another idea of a word must not count into the same
hashes: every answer would be wrong, and nothing would tell. So the layout is stored beside the counts, in a hash with a
field for each setting that is a part of it:

| field | holds |
| --- | --- |
| `format` | the number of the keys' and entries' format: FORMAT |
| `windows` | lengths x how many are kept. Only the lengths are compared; the rest is that of the last start |
| the names in SETTINGS | the setting, written so that equal ones have equal text; a long one is cut, with its SHA-256 |
| `words_by_type` | which types have their words counted apart: a number, or the types; not there where none has |
| `digest` | of all that is compared: what scripts look at |
| `shards`, `stripe_bytes` | what sources are spread over, and how, where that is more than one shard |
| `since` | when it was stored, in Unix seconds |

Bounds (how many names, windows or bytes) are no part of it: they may differ and may be changed at any time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from tally.fields import format_path
from tally.refused import Refused
from tally.settings import PREFIX, Settings
from tally.windows import WindowLength, parse_window_lengths
from tally.words import normalized

#: The format of keys and entries that this program reads and writes.
FORMAT = "2"

#: The format before, whose windows were rolled up. All but these can be carried over.
FORMAT_BEFORE = "1"

#: The settings that are a part of the layout, besides the windows.
SETTINGS = (
    "type_field",
    "text_field",
    "time_field",
    "time_unit",
    "word_pattern",
    "fold_case",
    "normalize_words",
    "stop_words",
    "min_word_length",
)

#: The settings that say how sources are spread over shards, where there is more than one. They can never change: where
#: lines went is where they are looked for.
SPREAD = ("shards", "stripe_bytes")

#: What a process compares that looks, or appends, but does not count.
FORMAT_FIELDS = ("format", *SPREAD)

#: Characters of a setting that are stored; of a longer one its beginning and its hash.
MAX_CHARACTERS = 500


#: What is so where these are not stored.
_NOT_STORED = {"shards": "1", "words_by_type": ""}


_CUT = re.compile(r"… \([0-9,]+ characters, SHA-256 [0-9a-f]{64}\)\Z")


class LayoutRefused(Refused):
    """Redis holds what was counted with another layout; the text says how they differ, and what to do."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A part of the layout that differs: a variable, what it was when Redis' counts were made, what it is here."""

    variable: str
    stored: str
    here: str


@dataclass(frozen=True)
class Layout:
    """A layout, as text by field. What an ingestor alone has stored is only a format."""

    fields: Mapping[str, str]

    @classmethod
    def of(cls, settings: Settings) -> Layout:
        """Return the layout of these settings, with its digest."""
        values = {"format": FORMAT, "windows": _windows_text(settings.window_lengths)}
        values |= {name: _bounded(_text_of(name, settings)) for name in SETTINGS}
        # Left out where it is off, as it was before there was such a thing.
        if settings.types_with_words.most:
            values["words_by_type"] = _bounded(settings.types_with_words.text)
        if settings.shards > 1:
            values |= {name: str(getattr(settings, name)) for name in SPREAD}
        compared = "\0".join(
            f"{name}\0{text}" for name, text in sorted((values | {"windows": _lengths(values)}).items())
        )
        return cls(values | {"digest": hashlib.sha256(compared.encode()).hexdigest()[:32]})

    @classmethod
    def stored(cls, fields: Mapping[bytes, bytes]) -> Layout:
        """Return the layout that is in these fields of the hash. Raises LayoutRefused if its format is not known."""
        layout = cls(
            {name.decode("utf-8", "replace"): text.decode("utf-8", "replace") for name, text in fields.items()}
        )
        if "format" in layout.fields:
            check_format(layout.fields["format"])
        return layout

    @property
    def settings(self) -> list[str]:
        """The names of its fields that are settings."""
        return [name for name in self.fields if name not in ("format", "digest", "since")]

    @property
    def whole(self) -> bool:
        """Whether it says how lines are counted, not only in which format."""
        return "digest" in self.fields

    @property
    def digest(self) -> str:
        """What tells two layouts apart; empty if it is not whole."""
        return self.fields.get("digest", "")

    @property
    def of_format(self) -> dict[str, str]:
        """What of it an ingestor stores, and compares: how things are stored, and over what they are spread."""
        return {name: self.fields[name] for name in FORMAT_FIELDS if name in self.fields}

    @cached_property
    def window_lengths(self) -> tuple[WindowLength, ...] | None:
        """The windows; None if it is not whole. Raises LayoutRefused if they cannot be read."""
        text = self.fields.get("windows")
        if text is None:
            return None
        try:
            return parse_window_lengths(text)
        except ValueError as error:
            raise LayoutRefused(f"the layout in Redis has windows that cannot be read: {error}") from None

    def flag(self, name: str, *, default: bool) -> bool:
        """Return whether a setting is on; `default` where it is not stored."""
        return self.fields.get(name, _on_or_off(default)) == _on_or_off(True)

    def differences(self, here: Layout) -> list[Difference]:
        """Return how the layout of settings differs from this, the stored one."""
        if spread := self.spread_differences(here):
            return spread
        if not self.whole or self.digest == here.digest:
            return []
        # It is the digest that scripts compare: a difference in it alone, which nothing explains, is one, too.
        return self.counting_differences(here) or [Difference("the digest of the settings", self.digest, here.digest)]

    def counting_differences(self, here: Layout) -> list[Difference]:
        """Return how lines are counted otherwise by the settings here, whatever they are spread over."""
        return [
            Difference(PREFIX + name.upper(), shown(name, self.fields), shown(name, here.fields))
            for name in dict.fromkeys((*here.settings, *self.settings))
            if name not in SPREAD and _compared(name, self.fields) != _compared(name, here.fields)
        ]

    def spread_differences(self, here: Layout) -> list[Difference]:
        """Return how sources are spread otherwise than by the settings here; nothing where nothing is stored."""
        if not self.fields:
            return []
        return [
            Difference(PREFIX + name.upper(), shown(name, self.fields), shown(name, here.fields))
            for name in SPREAD
            if self.fields.get(name, _NOT_STORED.get(name)) != here.fields.get(name, _NOT_STORED.get(name))
        ][:1]  # where the shards differ, stripes say nothing

    def check_spread(self, here: Layout) -> None:
        """Raise LayoutRefused if sources are spread otherwise than by the settings here."""
        if differences := self.spread_differences(here):
            raise refuse(differences)


def check_format(stored: str) -> None:
    """Raise LayoutRefused for a format that this program does not know."""
    if stored == FORMAT_BEFORE:
        raise LayoutRefused(
            f"Redis holds data of format {stored}, whose windows this program cannot read: it knows format {FORMAT}. "
            "Run `tally layout --accept`: counts of all time, positions and what waits to be counted stay as they are, "
            "and time ranges begin anew. Or go on with the Tally that wrote it"
        )
    if stored != FORMAT:
        newer = stored.isascii() and stored.isdecimal() and int(stored) > int(FORMAT)
        way_on = "use the Tally that wrote it, or a newer one" if newer else "nothing is read or written"
        raise LayoutRefused(
            f"Redis holds data of format {stored[:20]}, and this program knows format {FORMAT}: {way_on}"
        )


def said(differences: Iterable[Difference]) -> list[str]:
    """Return lines that say how layouts differ."""
    return [f"  {each.variable} was {each.stored}, and here it is {each.here}" for each in differences]


def refuse(differences: list[Difference]) -> LayoutRefused:
    """Return the error that says how a layout differs from the stored one, and the way on."""
    differing = said(differences)
    if any(each.variable.removeprefix(PREFIX).lower() in SPREAD for each in differences):
        return LayoutRefused(
            "\n".join(
                (
                    "Redis holds what was spread over shards otherwise, and lines would be counted twice:",
                    *differing,
                    "set it as it was; to spread it otherwise `tally export` it, and `tally import` that with other "
                    "settings into another namespace",
                )
            )
        )
    lines = ["Redis holds what was counted with other settings, and an answer about both would be wrong:", *differing]
    lines.append(
        "either set it as it was (of TALLY_WINDOWS the lengths; how many are kept may differ), or run `tally layout "
        "--accept` with the new settings: they hold from then on, and what was counted stays as it is"
    )
    return LayoutRefused("\n".join(lines))


def _windows_text(lengths: tuple[WindowLength, ...]) -> str:
    return ",".join(f"{length.seconds}x{length.kept}" for length in lengths)


def _lengths(fields: Mapping[str, str]) -> str:
    return ",".join(part.partition("x")[0] for part in fields["windows"].split(","))


def _compared(name: str, fields: Mapping[str, str]) -> str | None:
    return _lengths(fields) if name == "windows" and name in fields else fields.get(name)


def shown(name: str, fields: Mapping[str, str]) -> str:
    """Return a field as people may see it, on a terminal too: what cannot be printed is escaped, so that it shows."""
    text = fields.get(name, _NOT_STORED.get(name))
    if text is None:
        return "(not known)"
    if name == "windows":
        return f"lengths of {_lengths(fields)} s"
    escaped = (each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return "".join(escaped) or "(empty)"


def _text_of(name: str, settings: Settings) -> str:
    """Return a setting as text, so that two have the same text if they count alike."""
    if name == "type_field":
        return format_path(settings.type_path)
    if name == "text_field":
        return ",".join(map(format_path, settings.text_paths))
    if name == "time_field":
        return format_path(settings.time_path) if settings.time_path else ""
    if name == "stop_words":
        words: Iterable[str] = settings.stop_word_set
        if settings.fold_case:
            words = map(str.casefold, words)
        if settings.normalize_words:
            words = map(normalized, words)
        return ",".join(sorted(set(words)))
    value = getattr(settings, name)
    if isinstance(value, bool):
        return _on_or_off(value)
    return "" if value is None else str(value)


def _on_or_off(value: bool) -> str:
    return "true" if value else "false"


def _bounded(text: str) -> str:
    if len(text) <= MAX_CHARACTERS:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[:100]}… ({len(text):,} characters, SHA-256 {digest})"


def is_cut(text: str) -> bool:
    """Return whether this is not the whole text of a setting."""
    return _CUT.search(text) is not None
