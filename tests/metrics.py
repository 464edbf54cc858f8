"""What the metrics of this process say."""

from __future__ import annotations

from prometheus_client import REGISTRY


def value(name: str, **labels: str) -> float | None:
    """The value of a sample; None if there is none."""
    return REGISTRY.get_sample_value(name, labels)


class Change:
    """How much a sample has grown since this was made: other tests of this process add to it as well."""

    def __init__(self, name: str, **labels: str) -> None:
        self._name, self._labels = name, labels
        self._before = value(name, **labels) or 0.0

    @property
    def so_far(self) -> float:
        return (value(self._name, **self._labels) or 0.0) - self._before
