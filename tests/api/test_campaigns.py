"""Drafts of campaigns: what is asked in the address, and what in the document."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.api.house import House, check_problem
from tests.api.test_messages import engine_running, rows
from tests.api.test_orders import following
from tests.brain.stage import MONDAY, Stage, campaign

CSV = {"Content-Type": "text/csv"}
ROWS = b"ref,media,country,platform\nteaser-1,https://cdn.example.com/1.mp4,US,tiktok\n"
STATED = "name=spring&disclose_as_ads=true&ai_content_disclaimer=false"


@pytest.fixture
def stage(house: House) -> Iterator[Stage]:
    house.clock.now = MONDAY
    with closing(Stage(house.database)) as stage:
        stage.warm("b1")
        yield stage


def drafted(house: House, query: str, content: bytes, status: int, **options: Any) -> Any:
    answer = house.client.post(f"/api/campaigns?{query}", content=content, **options)
    assert answer.status_code == status, answer.text
    if status >= 400:
        check_problem(answer)
    return answer.json()


@pytest.mark.parametrize("query", ["dry_run", "dry_run=", "dry_run=true", "dry_run=TRUE", "dry_run=1"])
def test_a_dry_run_keeps_nothing_however_it_is_asked_for(house: House, stage: Stage, query: str) -> None:
    before = len(rows(house))
    assert len(drafted(house, query, campaign().encode(), 200)["plan"]) == 1
    assert len(rows(house)) == before


@pytest.mark.parametrize("query", ["", "dry_run=false", "dry_run=0"])
def test_what_is_no_dry_run_drafts(house: House, stage: Stage, query: str) -> None:
    with engine_running(house), following(house):
        assert len(drafted(house, query, campaign().encode(), 201)["plan"]) == 1


def test_a_campaign_in_csv_is_settled_by_parameters(house: House, stage: Stage) -> None:
    assert len(drafted(house, f"dry_run&{STATED}", ROWS, 200, headers=CSV)["plan"]) == 1


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("disclose_as_ads=true&ai_content_disclaimer=false", "needs the parameters name;"),
        ("name=spring&ai_content_disclaimer=false", "needs the parameters disclose_as_ads;"),
        (f"{STATED}&country=XX", "country"),
        (f"{STATED}&starts=2026-02-30", "starts"),
        (f"{STATED}&ends=tomorrow", "ends"),
        (f"{STATED}&platform=youtube", "platform"),
    ],
)
def test_a_campaign_in_csv_that_is_settled_wrongly_is_malformed(
    house: House, stage: Stage, query: str, words: str
) -> None:
    before = len(rows(house))
    assert words in drafted(house, query, ROWS, 422, headers=CSV)["detail"]
    assert len(rows(house)) == before


def test_a_document_that_says_it_itself_takes_no_settings(house: House, stage: Stage) -> None:
    before = len(rows(house))
    told = drafted(house, "name=other&disclose_as_ads=false", campaign().encode(), 422)
    assert told["detail"].startswith("The parameters name, disclose_as_ads are for CSV only")
    assert len(rows(house)) == before
