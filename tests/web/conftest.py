from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.database.tables import bundles, countries, decisions, outbox, videos
from tests.api.house import TOKENS, House, bundle_row, country_row, video_row, webhook
from tests.api.house import house as open_house

HOSTILE = '<script>alert("x")</script>\u202egnp.\u0000\x1b[31m\'&'
"""What a name may hold that somebody sent us."""
SHOWN = "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;gnp.[31m&#39;&amp;"


on_sqlite = pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)
"""For what does not depend on the kind of database."""


@pytest.fixture
def house(migrated_url: str) -> Iterator[House]:
    """A house without tokens, called from its own machine."""
    with open_house(migrated_url) as opened:
        yield opened


@pytest.fixture
def guarded(migrated_url: str) -> Iterator[House]:
    """A house with one token of each role."""
    with open_house(migrated_url, tokens=TOKENS) as opened:
        yield opened


@pytest.fixture
def filled(house: House) -> House:
    """A house with accounts in two countries, of which one is banned, and a video that moved."""
    house.tell(
        webhook("bundle.created", 1, bundle="bdl_us_1", data={"username": "acme.us"}),
        webhook("bundle.warming_completed", 2, bundle="bdl_us_1"),
        webhook("bundle.created", 3, bundle="bdl_fr_1", country="FR"),
        webhook("video.posted", 4, bundle="bdl_us_1", data={"video_id": "vid_1", "url": "https://tiktok.example/1"}),
        webhook("bundle.banned", 5, bundle="bdl_fr_1", country="FR", data={"reason": "spam"}),
    )
    fill(house)
    return house


def fill(house: House) -> None:
    """Read models, as the projections would have made them."""
    house.insert(
        bundles,
        bundle_row("bdl_us_1", username="acme.us"),
        bundle_row("bdl_fr_1", country="FR", state="banned", postable=False, holds='["needs_review"]'),
    )
    house.insert(
        videos,
        video_row(
            "vid_1",
            bundle_id="bdl_us_1",
            ref="teaser-1",
            post_url="https://tiktok.example/1",
            attempts=(
                '[{"number":1,"bundle_id":"bdl_fr_1","state":"cancelled","tries":1,"target_day":"2026-11-20","error":'
                '{"code":"banned","message":null}},{"number":2,"bundle_id":"bdl_us_1","state":"posted","tries":2,'
                '"target_day":"2026-11-21","error":null}]'
            ),
        ),
        video_row("vid_2", bundle_id="bdl_fr_1", state="waiting", reason="nobody of 2 qualifies: 1 banned"),
    )
    house.insert(
        countries,
        country_row("US", "tiktok", "bundles", "completed", 1),
        country_row("US", "tiktok", "postable", "", 1),
        country_row("US", "tiktok", "videos", "posted", 1),
        country_row("FR", "tiktok", "bundles", "banned", 1),
        country_row("FR", "tiktok", "videos", "waiting", 1),
        country_row("FR", "tiktok", "breaker", "open", 1),
    )
    house.insert(decisions, decision_row(7))
    house.insert(
        outbox,
        command_row(1, kind="alert", status="done", body='{"alert":"banned","text":"bdl_fr_1 is banned"}'),
        command_row(2, status="held", reason="beyond the budget of the day", price=15),
        command_row(3, status="dead", last_error="refused six times", attempts=6, video_id="vid_2"),
        command_row(4, status="done"),
    )


def decision_row(position: int, **columns: object) -> dict[str, object]:
    row = {column.name: None for column in decisions.c} | {
        "position": position,
        "kind": "reroute",
        "video_id": "vid_1",
        "bundle_id": "bdl_us_1",
        "from_bundle": "bdl_fr_1",
        "to_bundle": "bdl_us_1",
        "reason": "the account is banned; bdl_us_1 takes it on 2026-11-21: least loaded",
        "cause": '{"message_id":"msg_1","event_id":"evt_5","answers":null}',
        "actor": '{"kind":"policy","name":"policies"}',
        "policy": "2b72fa199d69e3cbfe57ecae",
        "candidates": (
            '{"own":[["bdl_us_1","chosen: least loaded",true],["bdl_fr_1","banned",false]],"counts":{"banned":1}}'
        ),
        "at": "2026-11-20T12:05:00Z",
    }
    return row | columns


def command_row(number: int, **columns: object) -> dict[str, object]:
    row = {column.name: None for column in outbox.c} | {
        "command_id": f"cmd_{number}",
        "seq": number,
        "kind": "configure_video",
        "status": "pending",
        "bundle_id": "bdl_us_1",
        "body": "{}",
        "attempts": 0,
        "not_before": 0,
        "created_at": 1_795_000_000_000_000,
        "message_id": "msg_1",
        "urgency": 1,
    }
    return row | columns
