"""Parameters that narrow words to those of some types, and types to those by some words; see filters.py."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from api.param_reading import Strict
from api.params import (
    NameParams,
    RankingParams,
    TrendingParams,
    TypeLookupParams,
    TypeSeriesParams,
    WordLookupParams,
    WordSeriesParams,
)
from tally.keys import Kind

#: How many may be given at once.
MOST_NAMES = 20

_Names = Annotated[list[str], Field(max_length=MOST_NAMES, json_schema_extra={"uniqueItems": True})]


def _differ(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("the same one was given more than once; give each once")
    return names


class OfTypes(Strict):
    """Narrows words."""

    type: _Names = Field(
        default=[],
        description="Only words of events of this type, which needs words of its own (TALLY_WORDS_BY_TYPE); it may be "
        "given several times, for the sum of several types",
        examples=[["foo"]],
    )

    _types_differ = field_validator("type")(_differ)


class OfWords(Strict):
    """Narrows types."""

    word: _Names = Field(
        default=[],
        description="How often this word stands in events of each type that has words of its own "
        "(TALLY_WORDS_BY_TYPE), in place of how many events there are; it may be given several times, for the sum of "
        "several words",
        examples=[["lorem"]],
    )

    _words_differ = field_validator("word")(_differ)


class TypesParams(OfWords, RankingParams):
    """What /v1/types takes."""


class WordsParams(OfTypes, RankingParams):
    """What /v1/words takes."""


class NarrowedTypeSeriesParams(OfWords, TypeSeriesParams):
    """What /v1/types:series takes."""


class NarrowedWordSeriesParams(OfTypes, WordSeriesParams):
    """What /v1/words:series takes."""


class TrendingTypesParams(OfWords, TrendingParams):
    """What /v1/types:trending takes."""


class TrendingWordsParams(OfTypes, TrendingParams):
    """What /v1/words:trending takes."""


class TypeParams(OfWords, NameParams):
    """What /v1/types/NAME takes."""


class WordParams(OfTypes, NameParams):
    """What /v1/words/NAME takes."""


class NarrowedTypeLookupParams(OfWords, TypeLookupParams):
    """What /v1/types:lookup takes."""


class NarrowedWordLookupParams(OfTypes, WordLookupParams):
    """What /v1/words:lookup takes."""


RANKING: dict[Kind, type[TypesParams | WordsParams]] = {"types": TypesParams, "words": WordsParams}
SERIES: dict[Kind, type[NarrowedTypeSeriesParams | NarrowedWordSeriesParams]] = {
    "types": NarrowedTypeSeriesParams,
    "words": NarrowedWordSeriesParams,
}
TRENDING: dict[Kind, type[TrendingTypesParams | TrendingWordsParams]] = {
    "types": TrendingTypesParams,
    "words": TrendingWordsParams,
}
NAME: dict[Kind, type[TypeParams | WordParams]] = {"types": TypeParams, "words": WordParams}
LOOKUP: dict[Kind, type[NarrowedTypeLookupParams | NarrowedWordLookupParams]] = {
    "types": NarrowedTypeLookupParams,
    "words": NarrowedWordLookupParams,
}
