"""The built-in generator as a source."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ingestor.sources.base import NotReplayable
from tally.generator import Generator, GeneratorSpec


class Demo(NotReplayable):
    """The built-in generator."""

    def __init__(self, spec: GeneratorSpec) -> None:
        self._spec = spec
        self.label = "demo:"

    @property
    def endless(self) -> bool:
        """Whether it gives lines for ever."""
        return self._spec.count is None

    async def chunks(self, position: int) -> AsyncIterator[bytes]:  # noqa: ARG002
        async for lines in Generator(self._spec).paced():
            yield lines
