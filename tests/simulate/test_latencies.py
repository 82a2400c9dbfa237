from __future__ import annotations

from math import ceil
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.simulate.latencies import Latencies


def recorded(durations: list[float]) -> Latencies:
    latencies = Latencies()
    for seconds in durations:
        latencies.add(seconds)
    return latencies


@given(st.lists(st.floats(1e-6, 9e3), min_size=1), st.integers(1, 100))
def test_a_percentile_is_less_than_one_percent_off(durations: list[float], percent: int) -> None:
    exact = sorted(durations)[ceil(len(durations) * percent / 100) - 1]
    assert recorded(durations).percentile(percent) == pytest.approx(exact, rel=0.0051)


@pytest.mark.parametrize("percent", [50, 90, 99, 99.9])
def test_percentiles_of_many(percent: float) -> None:
    random = Random(1)
    durations = [random.lognormvariate(-7, 1) for _ in range(20_000)]
    exact = sorted(durations)[ceil(20_000 * percent / 100) - 1]
    assert recorded(durations).percentile(percent) == pytest.approx(exact, rel=0.0051)


def test_the_maximum_is_exact() -> None:
    assert recorded([0.1, 0.123456789, 0.01]).percentile(100) == 0.123456789


def test_none_yet() -> None:
    assert Latencies().percentile(99) == 0.0


def test_what_is_out_of_range_counts_at_its_edge() -> None:
    latencies = recorded([0.0, -1.0, 1e9])
    assert (latencies.count, latencies.max) == (3, 1e9)
    assert latencies.percentile(50) == pytest.approx(1e-6, rel=0.01)
    assert latencies.percentile(99) == pytest.approx(1e4, rel=0.02)
