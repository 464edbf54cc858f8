"""Parameters that say which names are listed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Self

from pydantic import AfterValidator, Field

from api.matching import NameFilter, compiled
from api.param_reading import Optional, Strict

#: How many names may be left out.
MOST_EXCLUDED = 100


def _readable(pattern: str) -> str:
    """Return the regular expression as it is. Raises ValueError if it is none."""
    compiled(pattern)
    return pattern


Excluded = Annotated[
    list[str],
    Field(
        max_length=MOST_EXCLUDED,
        description="A name to leave out, as it is written; it may be given several times",
        examples=[["foo"], ["foo", "bar"]],
    ),
]


class NameFilterParams(Strict):
    """Names pass if they pass all of these. Shares and totals are those of all names all the same."""

    prefix: Optional[str] = Field(
        None, max_length=256, description="Names that begin with this, without regard to case", examples=["lo"]
    )
    q: Optional[str] = Field(
        None, max_length=256, description="Names that contain this, without regard to case", examples=["OR"]
    )
    regex: Optional[Annotated[str, AfterValidator(_readable)]] = Field(
        None,
        max_length=256,
        description="Names in which this regular expression of RE2 finds something. Case counts unless it begins with "
        "`(?i)`, and `^` and `$` are a name's ends",
        examples=["^err.*[0-9]$", "(?i)time-?out"],
    )
    exclude: Excluded = Field(
        default=[], description="A name to leave out, as it is written; it may be given several times"
    )

    @property
    def filters(self) -> bool:
        """Return whether names are left out by what they are."""
        return bool(self.prefix or self.q or self.regex or self.exclude)

    @property
    def only_excludes(self) -> bool:
        """Return whether all names are listed but a few that are known."""
        return not (self.prefix or self.q or self.regex)

    @property
    def name_filter(self) -> NameFilter:
        """Return what is asked of names."""
        return NameFilter(
            prefix=self.prefix or "",
            contains=self.q or "",
            pattern=self.regex or "",
            excluded=frozenset(name.encode("utf-8", "replace") for name in self.exclude),
        )

    def in_form(self, form: Callable[[str], str]) -> Self:
        """Return the same with every name, and every part of one, in the form in which names are counted.

        A regular expression stays as it is: put into another form, it could be none.
        """
        return self.model_copy(
            update={
                "prefix": self.prefix and form(self.prefix),
                "q": self.q and form(self.q),
                "exclude": [form(name) for name in self.exclude],
            }
        )
