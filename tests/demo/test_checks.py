from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.demo import checks, report
from orchestrator.demo.told import Post, Told, Truth


def video(video_id: str, state: str = "posted", **members: Any) -> dict[str, Any]:
    return {
        "video_id": video_id,
        "state": state,
        "reason": None,
        "attempts": [],
        "country": "US",
        "ref": "clip",
        **members,
    }


def bundle(bundle_id: str, state: str = "completed", account: str | None = None) -> dict[str, Any]:
    account = account or f"sav_{bundle_id}"
    where = {"country": "US", "username": f"acme.{bundle_id}"}
    return {"bundle_id": bundle_id, "state": state, "saved_account_id": account, **where}


TOLD = Told(
    videos=[video("v1"), video("v2", "waiting", reason="nobody qualifies"), video("v3", "scheduled")],
    bundles=[bundle("b1"), bundle("b2", "banned")],
    decisions=[],
    commands=[],
    alerts=[],
    events=[],
)
TRUTH = Truth(
    posts=[Post("v1", "b1", "sav_b1"), Post(None, "b1", "sav_b1")],
    bundles=frozenset({"b1", "b2"}),
    banned=frozenset({"b2"}),
    ever_banned=frozenset({"sav_b2"}),
    violations=[],
)


def broken(truth: Truth = TRUTH, told: Told = TOLD) -> list[str]:
    return [problem for problems in checks.check(truth, told).values() for problem in problems]


def test_a_house_in_order() -> None:
    assert broken() == []


def test_a_second_post_is_a_fault_unless_the_first_account_was_banned() -> None:
    twice = [Post("v1", "b1", "sav_b1"), Post("v1", "b3", "sav_b3")]
    assert broken(replace(TRUTH, posts=twice)) == ["v1 is posted on b1, whose account was not banned, and on b3"]
    assert broken(replace(TRUTH, posts=twice, ever_banned=frozenset({"sav_b1", "sav_b2"}))) == []
    assert broken(replace(TRUTH, posts=[twice[0], twice[0]])) != []


@pytest.mark.parametrize(
    ("truth", "told", "problem"),
    [
        ({"posts": []}, {}, "v1 is posted here and not at TokPortal"),
        ({"posts": [*TRUTH.posts, Post("v3", "b1", "sav_b1")]}, {}, "v3 is posted at TokPortal and not here"),
        ({"banned": frozenset()}, {}, "b2 is banned here and not at TokPortal"),
        ({"banned": frozenset({"b1", "b2"})}, {}, "b1 is banned at TokPortal and not here"),
        ({"bundles": frozenset({"b1", "b2", "b3"})}, {}, "b3 is not known here"),
        ({"violations": ["a key was used twice"]}, {}, "a key was used twice"),
        ({}, {"videos": [video("v1"), video("v2", "abandoned")]}, "v2 is abandoned and does not say why"),
        (
            {},
            {"videos": [video("v1"), video("v3", "scheduled", attempts=[{"state": "planned"}, {"state": "uploaded"}])]},
            "v3 has several live attempts",
        ),
    ],
)
def test_what_breaks_is_named(truth: dict[str, Any], told: dict[str, Any], problem: str) -> None:
    assert broken(replace(TRUTH, **truth), replace(TOLD, **told)) == [problem]


def event(name: str, kind: str, about: str, **subject: Any) -> dict[str, Any]:
    return {"event": name, "aggregate": {"kind": kind, "id": about}, "subject": subject}


def decision(kind: str, reason: str | None) -> dict[str, Any]:
    about = {"at": "2026-12-01T08:00:00Z", "video_id": "v1", "from_bundle": None, "to_bundle": None, "bundle_id": "b1"}
    return {**about, "kind": kind, "reason": reason}


def test_what_happened_is_counted_by_country() -> None:
    told = replace(
        TOLD,
        events=[
            event("WarmingCompleted", "bundle", "b1"),
            event("VideoPosted", "video", "v1"),
            # Confirmed: no second post.
            event("VideoPosted", "video", "v1"),
            event("VideoPosted", "video", "stranger", country="FR"),
            event("BundleBanned", "account", "sav_b2"),
            event("VideoRerouted", "video", "v2"),
            event("VideoPlanned", "video", "v2"),
        ],
        commands=[
            {"kind": "configure_video", "status": "done", "price": None},
            {"kind": "start_warming", "status": "done", "price": 15},
            {"kind": "start_warming", "status": "held", "price": 15},
        ],
        alerts=[{"body": {"alert": "banned"}}],
    )
    found = report.make(told, {"all is well": []}, seconds=60.04, days=5.01, is_over=True)
    nothing = {"warmed": 0, "posted": 0, "failures": 0, "bans": 0, "reroutes": 0, "given_up": 0}
    assert found.countries == {
        "FR": {"accounts": 0, **nothing, "posted": 1},
        "US": {"accounts": 2, **nothing, "warmed": 1, "posted": 1, "bans": 1, "reroutes": 1},
    }
    assert found.commands == {"configure_video": {"done": 1}, "start_warming": {"done": 1, "held": 1}}
    assert (found.credits, found.alerts, found.holds) == (15, {"banned": 1}, True)
    assert found.to_json()["holds"] is True
    assert report.make(told, {"x": ["broken"]}, seconds=1, days=1, is_over=False).holds is False


def test_why_is_told_of_each_kind_of_decision() -> None:
    # The newest first, as the API lists them.
    decisions = [
        *(decision("reroute", f"reason {number}; b2 takes it") for number in range(9)),
        decision("reroute", "reason 8; b3 takes it"),
        decision("place", "least loaded"),
        decision("stop", None),
        decision("breaker", "3 bans within 24h"),
    ]
    found = report.make(replace(TOLD, decisions=decisions), {}, seconds=1, days=1, is_over=True)
    assert [item["kind"] for item in found.why] == ["breaker", "reroute", "reroute", "reroute"]
    assert len({item["reason"] for item in found.why}) == 4
    assert {item["about"] for item in found.why} == {"clip"}
    assert found.why[1]["reason"].endswith("acme.b2 takes it")
