"""Parameters of the list of sources, and of what was accepted of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.param_reading import Optional, Strict
from api.params import MOST_ITEMS, AnyFormat

SourceOrder = Literal[
    "-lines", "lines", "-rejected", "rejected", "-share", "share", "-rate", "rate",
    "-newest", "newest", "-lag", "lag", "name", "-name",
]  # fmt: skip


class SourcesParams(Strict):
    """What /v1/sources takes."""

    limit: Optional[int] = Field(
        None,
        ge=1,
        le=MOST_ITEMS,
        description="Sources at the most: without it 100 as JSON, and as CSV and NDJSON all",
        examples=[20],
    )
    offset: int = Field(0, ge=0, le=1_000_000_000, description="Sources to leave out at the beginning", examples=[20])
    prefix: Optional[str] = Field(
        None,
        max_length=256,
        description="Those whose names begin with this, without regard to case",
        examples=["tail:"],
    )
    q: Optional[str] = Field(
        None, max_length=256, description="Names that contain this, without regard to case", examples=["shop"]
    )
    order: SourceOrder = Field(
        "-lines",
        description="By all lines, rejected ones, their share, the rate, when the newest was appended, the lag or the "
        "name; a minus for the largest first. What is not known comes last",
        examples=["-lines", "-rate", "name"],
    )
    format: AnyFormat = None


class AcceptedParams(Strict):
    """What /v1/accepted takes."""

    limit: int = Field(20, ge=1, le=1000, description="Samples at the most", examples=[5])
    format: AnyFormat = None
