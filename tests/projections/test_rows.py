"""What the read models show is what the log says, however it is read, and can be made again from it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import bundles, campaigns, countries, decisions, events, projections, videos
from orchestrator.domain.bundle import bundle_view
from orchestrator.domain.decisions import Ours, PoliciesApplied
from orchestrator.domain.video import video_view
from orchestrator.log import EventMapper
from orchestrator.policies.placement import why_not_postable
from orchestrator.policies.schema import parse
from projections import Follower
from tests.projections.logs import READ_MODELS, append, eventful, follow, record, rows
from tests.projections.wild import wild

Fill = Callable[[Database, int], None]


def told(database: Database, seed: int) -> None:
    """What the engine makes of random webhooks."""
    record(database, eventful(seed))


def made_up(database: Database, seed: int) -> None:
    """Facts and decisions in any order."""
    append(database, wild(seed))


both = pytest.mark.parametrize(("fill", "seed"), [*((told, s) for s in range(3)), *((made_up, s) for s in range(6))])


def everything(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    return {table.name: rows(database, table) for table in READ_MODELS}


def start_over(database: Database) -> None:
    with database.write() as connection:
        for table in READ_MODELS:
            connection.execute(table.delete())
        connection.execute(projections.update().values(position=0))


def shown(database: Database, table: sa.Table) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(sa.select(table)))


def aggregates(database: Database) -> tuple[dict[str, Any], list[Any]]:
    """Every aggregate of the log, and every event in order, each with its position."""
    mapper, found, log = EventMapper(), {}, []
    for position, owner, version, topic, state in rows(database, events):
        event = mapper.event(owner, version, topic, state)
        found[owner] = event.mutate(found.get(owner))
        log.append((position, event))
    return found, log


def of_kind(found: dict[str, Any], kind: str) -> dict[str, Any]:
    return {key.removeprefix(f"{kind}:"): value for key, value in found.items() if key.startswith(f"{kind}:")}


@both
def test_pages_of_any_size_give_the_same_rows(database: Database, fill: Fill, seed: int) -> None:
    fill(database, seed)
    follow(database, page=1000)
    whole = everything(database)
    for page in (1, 7, 60):
        start_over(database)
        follow(database, page)
        assert everything(database) == whole


@both
def test_a_follower_that_remembers_nothing_writes_the_same_rows(database: Database, fill: Fill, seed: int) -> None:
    fill(database, seed)
    follow(database, page=1000)
    whole = everything(database)
    start_over(database)
    while Follower(database, page=13).step():
        pass
    assert everything(database) == whole


@both
def test_bundles_show_what_the_log_says(database: Database, fill: Fill, seed: int) -> None:
    fill(database, seed)
    follow(database, page=9)
    found, log = aggregates(database)
    members, reported = of_kind(found, "bundle"), of_kind(found, "account")
    named = {name: {note.account for note in bundle.notes if note.account} for name, bundle in members.items()}
    accounts = {name: reported[name].notes if name in reported else [] for names in named.values() for name in names}
    texts = [event.data["text"] for _, event in log if isinstance(event, PoliciesApplied)]
    policies = parse(texts[-1] if texts else "")
    assert {row.bundle_id for row in shown(database, bundles)} == set(members)
    for row in shown(database, bundles):
        bundle = members[row.bundle_id]
        kin = [members[o].notes for o in members if o != row.bundle_id and named[o] & named[row.bundle_id]]
        view = bundle_view(bundle.notes, accounts, kin, bundle.steps)
        why = why_not_postable(view.state, view.warmed, view.holds, policies.at(view.country, view.platform))
        assert (row.state, row.platform, row.country, row.warmed, row.saved_account_id, row.username) == (
            *(view.state, view.platform, view.country, view.warmed, view.saved_account_id),
            view.username,
        )
        assert (json.loads(row.holds), json.loads(row.flags)) == (list(view.holds), list(view.flags))
        assert (row.postable, row.group) == (why is None, policies.group_of(row.bundle_id))


@both
def test_videos_show_what_the_log_says(database: Database, fill: Fill, seed: int) -> None:
    fill(database, seed)
    follow(database, page=9)
    members = of_kind(aggregates(database)[0], "video")
    assert {row.video_id for row in shown(database, videos)} == set(members)
    for row in shown(database, videos):
        video = members[row.video_id]
        view = video_view(video.notes, video.steps)
        steps = {step.name: step.detail for step in video.steps}
        wish = steps.get("VideoRequested", {})
        assert (row.state, row.reason, row.bundle_id, row.post_url) == (
            *(view.state, view.reason, view.bundle_id),
            view.post_url,
        )
        assert json.loads(row.flags) == list(view.flags)
        assert [(a["bundle_id"], a["state"], a["tries"], a["target_day"]) for a in json.loads(row.attempts)] == [
            (a.bundle_id, a.state, a.tries, a.target_day) for a in view.attempts
        ]
        assert (row.campaign_id, row.ref, row.country, row.platform, row.group) == tuple(
            wish.get(name) for name in ("campaign_id", "ref", "country", "platform", "group")
        )
        assert row.merged_into == steps.get("Merged", {}).get("video_id")


@both
def test_countries_count_what_the_other_read_models_show(database: Database, fill: Fill, seed: int) -> None:
    fill(database, seed)
    follow(database, page=11)
    counted: Counter[tuple[str, str, str, str]] = Counter()
    places = {}
    for row in shown(database, bundles):
        places[row.bundle_id] = (row.country or "", row.platform or "")
        counted[*places[row.bundle_id], "bundles", row.state] += 1
        counted[*places[row.bundle_id], "postable", ""] += row.postable
    for row in shown(database, videos):
        if row.merged_into is None:
            place = (row.country, row.platform) if row.campaign_id else places.get(row.bundle_id, ("", ""))
            counted[*place, "videos", row.state] += 1
    gates: dict[tuple[str, str, str, str], int] = {}
    for _, event in aggregates(database)[1]:
        if event.TOPIC in ("BreakerOpened", "MarketPaused", "MarketResumed"):
            place = (event.data["country"], event.data["platform"])
            if event.TOPIC != "MarketPaused":
                gates[*place, "breaker", "open"] = event.TOPIC == "BreakerOpened"
            if event.TOPIC != "BreakerOpened":
                gates[*place, "paused", ""] = event.TOPIC == "MarketPaused"
    counted.update(gates)
    assert {tuple(row)[:4]: row.count for row in shown(database, countries)} == +counted


@pytest.mark.parametrize("seed", range(4))
def test_every_decision_is_a_row(database: Database, seed: int) -> None:
    made_up(database, seed)
    follow(database, page=17)
    log = aggregates(database)[1]
    decided = [(position, event) for position, event in log if isinstance(event, Ours) and event.decision]
    assert [row.position for row in sorted(shown(database, decisions))] == [position for position, _ in decided]
    for row, (_, event) in zip(sorted(shown(database, decisions)), decided, strict=True):
        kind, _, name = event.originator_id.partition(":")
        cause = json.loads(row.cause)
        assert (row.kind, row.reason, row.policy, json.loads(row.actor)) == (
            *(event.decision, event.reason, event.policy),
            event.actor,
        )
        assert cause["message_id"] == event.message_id
        assert cause["event_id"] == (event.answers[2] if event.answers else None)
        assert row.video_id == (name if kind == "video" else None)
        assert row.bundle_id == (name if kind == "bundle" else event.data.get("bundle_id"))
        assert row.from_bundle == event.data.get("from_bundle")
        assert row.to_bundle == (event.data["bundle_id"] if row.kind in ("place", "reroute") else None)
        assert json.loads(row.candidates) == (event.data.get("candidates") or {})


@pytest.mark.parametrize("seed", range(4))
def test_every_campaign_is_a_row(database: Database, seed: int) -> None:
    made_up(database, seed)
    follow(database, page=17)
    found, log = aggregates(database)
    members = of_kind(found, "campaign")
    drafts = {event.originator_id: event for _, event in log if event.TOPIC == "CampaignDrafted"}
    assert {row.campaign_id for row in shown(database, campaigns)} == set(members)
    for row in shown(database, campaigns):
        campaign = members[row.campaign_id]
        assert (row.status, row.name, row.wanted) == (campaign.status, campaign.spec["name"], 2)
        drafted = drafts[campaign.id].data
        assert (json.loads(row.plan), json.loads(row.unmet)) == (drafted["plan"], drafted["unmet"])
        assert row.created_at <= row.changed_at
