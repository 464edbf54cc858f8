"""How much the tests try: what every change needs, or, with TALLY_TEST_THOROUGH=1, what is worth a night.

What every change needs is in two parts. `make test` runs all but what is marked as slow: of what has many variants,
which take long, one or two. `make test-slow` runs one of the others, the first, and what has no shorter form. Both try
few examples of a property and one or two random seeds, always the same ones, so that a failure is the change's. The
thorough way has all variants and more seeds, draws many new examples at each run, makes longer histories, and starts
each process for real.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

THOROUGH = os.environ.get("TALLY_TEST_THOROUGH") == "1"

settings.register_profile(
    "short",
    deadline=None,  # a busy machine is no failure
    derandomize=True,
    max_examples=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile(
    "thorough",
    settings.get_profile("short"),
    derandomize=False,
    max_examples=300,
)
settings.load_profile("thorough" if THOROUGH else "short")


def examples(short: int, thorough: int) -> settings:
    """Return the settings of a property whose examples cost more than most: how many there are of them."""
    return settings(max_examples=thorough if THOROUGH else short)


def seeds(short: Iterable[int], others: Iterable[int]) -> list[Any]:
    """Return the parameters of a test by its random seed: those of every change, and others in the thorough way."""
    few = list(short)
    return [*few, *(pytest.param(each, marks=pytest.mark.slow) for each in others if each not in few and THOROUGH)]


def further_variants(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield, of each test, all its slow variants but the first; none in the thorough way."""
    begun = set()
    for item in items:
        test, _, variant = item.nodeid.partition("[")
        if variant and not THOROUGH and item.get_closest_marker("slow") is not None:
            if test in begun:
                yield item
            begun.add(test)
