"""The metrics that a module makes, with what they tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

from prometheus_client.metrics import MetricWrapperBase


@dataclass(frozen=True, slots=True)
class Described:
    """A metric, as its series are named."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


def described(module: ModuleType) -> Iterator[Described]:
    """Give the metrics of a module, in its order, and what collectors describe that make theirs at each scrape."""
    for value in vars(module).values():
        if isinstance(value, type) or not hasattr(value, "describe"):
            continue
        for family in value.describe():
            # The library has no other way to ask for the labels.
            labels = (value if isinstance(value, MetricWrapperBase) else family)._labelnames
            name = family.name + ("_total" if family.type == "counter" else "")
            yield Described(name, family.type, tuple(labels), family.documentation)
