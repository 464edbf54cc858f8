"""What a service's /metrics says, as numbers."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    """The samples of one answer."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._samples[sample.name, frozenset(sample.labels.items())] = sample.value

    @classmethod
    def of(cls, url: str, *, headers: Mapping[str, str] | None = None) -> Scrape:
        """Ask for it."""
        answer = httpx.get(f"{url}/metrics", headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return cls(answer.text)

    def value(self, name: str, **labels: str) -> float:
        """Return the value of one series; 0 if there is none."""
        return self._samples.get((name, frozenset(labels.items())), 0.0)

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of all series of this name with these labels among theirs."""
        wanted = set(labels.items())
        return sum(value for (each, has), value in self._samples.items() if each == name and wanted <= has)

    def labels(self, name: str, label: str) -> set[str]:
        """Return the values that a label has."""
        return {dict(has)[label] for each, has in self._samples if each == name and label in dict(has)}


def ready(url: str) -> tuple[int, str]:
    """Return the status of /readyz, and what is said to be missing; 0 where nobody listens."""
    try:
        answer = httpx.get(f"{url}/readyz", timeout=30)
    except httpx.TransportError as error:
        return 0, str(error)
    return answer.status_code, answer.json().get("detail", "")
