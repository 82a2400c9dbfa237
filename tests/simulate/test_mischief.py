from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.simulate.dialect import Dialect
from orchestrator.simulate.error import SimulateError
from orchestrator.simulate.events import Message
from orchestrator.simulate.mischief import Delivery, Mischief
from orchestrator.simulate.world import World

START = datetime(2026, 11, 20, tzinfo=UTC)


def delivered(mischief: Mischief, count: int, seed: int = 0) -> tuple[list[Delivery], list[Message]]:
    """The deliveries, and the world's messages in their own order."""
    worlds = [World(Dialect.ARTICLE, start=START, seed=seed) for _ in range(2)]
    deliveries = list(mischief.deliveries(worlds[0], Random(seed), count))
    return deliveries, list(islice(worlds[1], count))


@given(st.integers(1, 600), st.floats(0, 0.3), st.floats(0, 0.3), st.floats(0, 0.3), st.integers(0, 9))
def test_exactly_count_deliveries_without_a_gap(
    count: int, duplicates: float, reordering: float, bad: float, seed: int
) -> None:
    deliveries, world = delivered(Mischief(duplicates, reordering, bad), count, seed)
    assert len(deliveries) == count
    good = {delivery.message.event_id for delivery in deliveries if not delivery.forged}
    # Nothing held back stays unsent: what was delivered is a beginning of the world.
    assert good == {message.event_id for message in world[: len(good)]}


def test_shares() -> None:
    count = 40_000
    deliveries, _ = delivered(Mischief(duplicates=0.1, reordering=0.05, bad_signatures=0.02), count)
    good = [delivery.message for delivery in deliveries if not delivery.forged]
    firsts = list({message.event_id: message for message in reversed(good)}.values())
    seen: set[str] = set()
    newest = ""
    late = 0
    for message in good:
        if message.event_id not in seen:
            late += message.event_id < newest
            newest = max(newest, message.event_id)
            seen.add(message.event_id)
    assert (count - len(good)) / count == pytest.approx(0.02, abs=0.005)
    assert (len(good) - len(firsts)) / count == pytest.approx(0.1, abs=0.01)
    assert late / count == pytest.approx(0.05, abs=0.01)


def test_a_duplicate_is_the_same_body_byte_for_byte() -> None:
    deliveries, _ = delivered(Mischief(duplicates=0.5), 2000)
    bodies: dict[str, bytes] = {}
    for delivery in deliveries:
        message = delivery.message
        assert bodies.setdefault(message.event_id, message.body) == message.body
    assert len(bodies) < 1200


def test_a_forged_message_comes_again_in_good_order() -> None:
    deliveries, world = delivered(Mischief(bad_signatures=0.5), 1000)
    good = [delivery.message.event_id for delivery in deliveries if not delivery.forged]
    assert good == [message.event_id for message in world[: len(good)]]


def test_without_mischief_the_world_passes_unchanged() -> None:
    deliveries, world = delivered(Mischief(), 500)
    assert [delivery.message.body for delivery in deliveries] == [message.body for message in world]


def test_an_endless_stream() -> None:
    world = World(Dialect.ARTICLE, start=START)
    stream = Mischief(0.1, 0.1, 0.1).deliveries(world, Random(1))
    assert len(list(islice(stream, 5000))) == 5000


@pytest.mark.parametrize("shares", [(-0.1, 0, 0), (0, 1.1, 0), (0.5, 0.5, 0.5)])
def test_shares_that_make_no_sense(shares: tuple[float, float, float]) -> None:
    with pytest.raises(SimulateError, match="from 0 to 1"):
        Mischief(*shares)
