"""People hear of it when TokPortal does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from orchestrator.domain.times import iso
from orchestrator.reconcile import Outage
from orchestrator.tokportal.reads import Standing
from tests.reconcile.fake import NOON, Desk

FAILING = Standing(True, NOON, 299.0, "TokPortal did not answer: timed out")


@pytest.fixture
def outage(desk: Desk) -> Iterator[Outage]:
    with closing(Outage(desk.database, desk.clock, desk.reads)) as outage:
        yield outage


def see(desk: Desk, outage: Outage, standing: Standing) -> int:
    """How much there is to tell while TokPortal stands so."""
    desk.reads.stands = standing
    return outage.step() + outage.step()


def test_that_tokportal_does_not_answer_is_told_after_five_minutes_and_when_it_does_again(
    desk: Desk, outage: Outage
) -> None:
    assert see(desk, outage, FAILING) == 0
    assert see(desk, outage, replace(FAILING, seconds=300.0)) == 1
    assert see(desk, outage, replace(FAILING, seconds=900.0)) == 0
    assert see(desk, outage, Standing(has_answered=True)) == 1
    begun, over = desk.told("TokPortal")
    assert begun["outage"] == {"since": iso(NOON), "why": FAILING.why}
    assert over["outage"] is None


def test_a_new_process_knows_what_people_were_told(desk: Desk, outage: Outage) -> None:
    assert see(desk, outage, replace(FAILING, seconds=300.0)) == 1
    with closing(Outage(desk.database, desk.clock, desk.reads)) as another:
        assert see(desk, another, Standing()) == 0, "it has asked nothing yet"
        assert see(desk, another, replace(FAILING, seconds=400.0)) == 0
        assert see(desk, another, Standing(has_answered=True)) == 1


def test_short_trouble_is_not_told(desk: Desk, outage: Outage) -> None:
    for standing in (FAILING, Standing(has_answered=True)) * 2:
        assert see(desk, outage, standing) == 0
    assert desk.told("TokPortal") == []
