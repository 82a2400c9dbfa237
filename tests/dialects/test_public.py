from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.dialects import PUBLIC, Reading, Unreadable, Unrecognised, identify, read
from orchestrator.domain import facts
from tests.conftest import vectors

CREATED = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)
RECEIVED = CREATED + timedelta(hours=1)
BUNDLE_KINDS = {
    "bundle.created": facts.BundleCreated,
    "bundle.published": facts.BundlePublished,
    "bundle.cancelled": facts.BundleCancelled,
    "bundle.archived": facts.BundleArchived,
    "account.finalized": facts.BundleReady,
    "account.remade": facts.AccountRemade,
    "account.banned": facts.BundleBanned,
    "account.ban_appeal.submitted": facts.AppealSubmitted,
    "account.ban_appeal.resolved": facts.AppealResolved,
    "account.revealed": facts.AccountRevealed,
    "account.distribution_warning": facts.DistributionWarned,
    "warming.session_started": facts.WarmingStarted,
    "warming.session_completed": facts.WarmingCompleted,
    "subscription.renewed": facts.CoverageRenewed,
    "subscription.lapsed": facts.CoverageLapsed,
    "subscription.cancelled": facts.CoverageCancelled,
    "subscription.reactivated": facts.CoverageReactivated,
    "subscription.ended": facts.CoverageEnded,
}
RECORDED_KINDS = {
    "account.configured": facts.AccountConfigured,
    "account.published": facts.AccountOffered,
    "account.in_review": facts.AccountInReview,
    "account.pending_corrections": facts.AccountCorrectionsRequested,
    "account.ban_resolution.decided": facts.BanResolutionDecided,
    "warming.term_verified": facts.TermVerified,
    "credits.restored": facts.CreditsRestored,
}
VIDEO_KINDS = {
    "video.configured": facts.VideoScheduled,
    "video.published": facts.VideoHandedOver,
    "video.in_review": facts.UploadCompleted,
    "video.finalized": facts.VideoPosted,
    "video.pending_corrections": facts.CorrectionsRequested,
    "video.not_recommended": facts.NotRecommended,
    "video.ai_labeled": facts.AiLabeled,
    "video.sound_restricted": facts.SoundRestricted,
}
KINDS = BUNDLE_KINDS | RECORDED_KINDS | VIDEO_KINDS
URL = "https://www.tiktok.com/@acme.us/video/1"


def sample(type: str, /, **data: Any) -> dict[str, Any]:
    """A good message of this type, with these members of `data` besides its ids."""
    ids = {"bundle_id": "b-1"} | ({"video_id": "v-1"} if type.startswith("video.") else {})
    return {
        "id": "evt_1",
        "type": type,
        "api_version": PUBLIC,
        "created_at": "2026-11-20T17:00:00.000Z",
        "data": ids | data,
    }


def reading(message: Any, received_at: datetime = RECEIVED) -> Reading:
    return read(PUBLIC, json.dumps(message).encode(), received_at)


def refusal(message: Any, received_at: datetime = RECEIVED) -> str:
    with pytest.raises(Unreadable) as caught:
        reading(message, received_at)
    return str(caught.value)


def without(message: dict[str, Any], *names: str) -> dict[str, Any]:
    return message | {"data": {name: value for name, value in message["data"].items() if name not in names}}


# What is understood


def test_samples_of_the_vendor() -> None:
    readings = {message["type"]: reading(message) for message in vectors("public-2026-05-25")}
    assert {type: seen.kind for type, seen in readings.items()} == {
        "bundle.published": facts.BundlePublished,
        "account.finalized": facts.BundleReady,
        "account.banned": facts.BundleBanned,
        "video.finalized": facts.VideoPosted,
    }
    assert [seen.bundle_id for seen in readings.values()] == ["b-1"] * 4
    assert [seen.account for seen in readings.values()] == [None, "s-1", "s-1", None]
    assert [seen.platform for seen in readings.values()] == ["tiktok", "tiktok", "tiktok", None]
    posted = readings["video.finalized"]
    assert (posted.video_id, posted.country, posted.data["url"]) == ("v-1", None, URL)


@pytest.mark.parametrize("type", sorted(KINDS))
def test_every_event_type_is_a_fact(type: str) -> None:
    seen = reading(sample(type, saved_account_id="s-1", country="USA", platform="instagram"))
    assert seen.kind is KINDS[type]
    assert seen.occurred_at == CREATED
    assert (seen.bundle_id, seen.account, seen.country, seen.platform) == ("b-1", "s-1", "US", "instagram")
    assert seen.video_id == ("v-1" if type in VIDEO_KINDS else None)


@pytest.mark.parametrize("type", sorted(KINDS))
def test_country_platform_account_and_username_need_not_be_told(type: str) -> None:
    seen = reading(sample(type, country=None, platform=None, saved_account_id=None, username=None))
    assert (seen.country, seen.platform, seen.account) == (None, None, None)


def test_test_message_says_nothing() -> None:
    message = {"id": "evt_1", "type": "webhook.test", "created_at": "2026-11-20T17:00:00Z"}
    assert reading(message) == Reading(None, CREATED)
    assert reading(message | {"data": {"hello": 1}}) == Reading(None, CREATED)


@pytest.mark.parametrize("version", ["2027-01-01", None, 7, {}])
def test_version_and_unknown_members_do_no_harm(version: Any) -> None:
    seen = reading(sample("bundle.created", later=[1]) | {"api_version": version, "later": {}})
    assert seen.data["later"] == [1]


# Accounts


@pytest.mark.parametrize("type", sorted(BUNDLE_KINDS))
def test_news_may_name_only_an_account(type: str) -> None:
    seen = reading(without(sample(type, saved_account_id="s-1"), "bundle_id"))
    assert (seen.kind, seen.bundle_id, seen.account) == (BUNDLE_KINDS[type], None, "s-1")


@pytest.mark.parametrize("type", sorted(BUNDLE_KINDS))
def test_news_that_names_nothing_is_unreadable(type: str) -> None:
    assert refusal(without(sample(type), "bundle_id")) == "data names neither bundle_id nor saved_account_id"


@pytest.mark.parametrize("type", sorted(RECORDED_KINDS))
def test_news_that_changes_no_state_need_not_name_anything(type: str) -> None:
    assert reading(without(sample(type), "bundle_id")) == Reading(None, CREATED)
    assert reading(without(sample(type, saved_account_id="s-1"), "bundle_id")).kind is RECORDED_KINDS[type]


@pytest.mark.parametrize("type", sorted(VIDEO_KINDS))
@pytest.mark.parametrize("name", ["video_id", "bundle_id"])
def test_video_news_names_the_video_and_its_bundle(type: str, name: str) -> None:
    assert refusal(without(sample(type, saved_account_id="s-1"), name)) == f"data.{name} is missing"


def test_our_own_id_is_a_text() -> None:
    assert refusal(sample("video.published", external_ref=7)) == "data.external_ref must be a string"


# Posts


def test_review_with_a_url_is_a_post_under_review() -> None:
    seen = reading(sample("video.in_review", platform_url=URL))
    assert (seen.kind, seen.data["url"], seen.data["review"]) == (facts.VideoPosted, URL, "open")


@pytest.mark.parametrize("url", [None, ""])
def test_review_without_a_url_is_an_upload(url: str | None) -> None:
    assert reading(sample("video.in_review", platform_url=url)).kind is facts.UploadCompleted


@pytest.mark.parametrize("url", [URL, None])
def test_finalized_is_a_final_post(url: str | None) -> None:
    seen = reading(sample("video.finalized", platform_url=url))
    assert (seen.kind, seen.data["url"], seen.data["review"]) == (facts.VideoPosted, url, "final")


# Bans and appeals


def test_ban_happened_when_the_vendor_says_it_did() -> None:
    assert reading(sample("account.banned", banned_at="2026-11-18T08:00:00+02:00")).occurred_at == datetime(
        2026, 11, 18, 6, tzinfo=UTC
    )
    assert reading(sample("account.banned", banned_at=None)).occurred_at == CREATED
    assert reading(sample("bundle.cancelled", banned_at="2026-11-18T08:00:00Z")).occurred_at == CREATED


@pytest.mark.parametrize(
    ("banned_at", "why"),
    [
        ("2026-11-18T08:00:00", "data.banned_at has no offset"),
        ("then", "data.banned_at is no time"),
        (1795194000, "data.banned_at must be a string"),
        ("2014-01-01T00:00:00Z", "data.banned_at is before 2015"),
        ("2026-11-20T19:00:00.1Z", "data.banned_at is more than an hour ahead"),
    ],
)
def test_time_of_a_ban_is_checked_like_any_time(banned_at: Any, why: str) -> None:
    assert refusal(sample("account.banned", banned_at=banned_at)).startswith(why)


@pytest.mark.parametrize("member", ["appeal_status", "outcome", "result", "resolution", "status", "decision"])
@pytest.mark.parametrize(
    ("word", "outcome"),
    [
        ("appeal_accepted", "accepted"),
        ("accepted", "accepted"),
        ("Approved", "accepted"),
        ("successful", "accepted"),
        ("appeal_refused", "refused"),
        ("REJECTED", "refused"),
        ("denied", "refused"),
        ("unsuccessful", "refused"),
        ("not_accepted", "refused"),
        ("failed", "refused"),
    ],
)
def test_outcome_of_an_appeal_is_read_wherever_it_stands(member: str, word: str, outcome: str) -> None:
    assert reading(sample("account.ban_appeal.resolved", **{member: word})).data["outcome"] == outcome


@pytest.mark.parametrize(("accepted", "outcome"), [(True, "accepted"), (False, "refused")])
def test_outcome_of_an_appeal_may_be_a_plain_yes_or_no(accepted: bool, outcome: str) -> None:
    data = reading(sample("account.ban_appeal.resolved", accepted=accepted, status="resolved")).data
    assert data["outcome"] == outcome


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"status": "resolved"},
        {"outcome": 1},
        {"outcome": None},
        {"outcome": ["accepted"]},
        {"accepted": "yes"},
        # The appeal, or the ban?
        {"outcome": "upheld"},
        {"appeal_status": "appeal_accepted", "outcome": "refused"},
        {"accepted": False, "status": "approved"},
    ],
)
def test_outcome_that_cannot_be_read_stays_open(data: dict[str, Any]) -> None:
    assert reading(sample("account.ban_appeal.resolved", **data)).data["outcome"] is None


@pytest.mark.parametrize("word", ["not accepted", "not_approved", "disapproved", "unaccepted", "accepted_for_review"])
def test_no_is_never_taken_for_a_yes(word: str) -> None:
    assert reading(sample("account.ban_appeal.resolved", outcome=word)).data["outcome"] != "accepted"


@pytest.mark.parametrize("ended", [True, False, None])
def test_revealed_credentials_may_end_the_management(ended: bool | None) -> None:
    assert reading(sample("account.revealed", management_ended=ended)).data["management_ended"] is ended


@pytest.mark.parametrize("ended", ["true", 1, 0, []])
def test_end_of_management_is_a_plain_yes_or_no(ended: Any) -> None:
    assert refusal(sample("account.revealed", management_ended=ended)) == "data.management_ended must be true or false"


# Event types


@pytest.mark.parametrize("type", ["video.posted", "bundle.ready", "account.banned.again", "", "Bundle.created"])
def test_unknown_event_type_is_unrecognised_whatever_else_is_wrong_with_it(type: str) -> None:
    with pytest.raises(Unrecognised):
        reading(sample(type))
    with pytest.raises(Unrecognised):
        reading({"type": type})


@pytest.mark.parametrize("type", [7, ["bundle.created"], {}, True])
def test_event_type_must_be_a_text(type: Any) -> None:
    assert refusal(sample("bundle.created") | {"type": type}) == "type must be a string"


# Missing and malformed fields


@pytest.mark.parametrize("type", sorted(KINDS))
@pytest.mark.parametrize("member", ["type", "created_at", "data"])
def test_every_event_type_needs_the_envelope(type: str, member: str) -> None:
    message = sample(type)
    assert refusal(message | {member: None}) == f"{member} is missing"
    del message[member]
    assert refusal(message) == f"{member} is missing"


@pytest.mark.parametrize("data", ["text", 7, [], True])
def test_data_must_be_an_object(data: Any) -> None:
    assert refusal(sample("bundle.created") | {"data": data}) == "data must be an object"


@pytest.mark.parametrize("value", [7, True, [], {}, "", "  ", "a\nb", "x" * 201])
def test_identifiers_are_short_printable_texts(value: Any) -> None:
    assert refusal(sample("bundle.created") | {"id": value}).startswith("the event id must be")
    for name in ("bundle_id", "saved_account_id"):
        assert refusal(sample("bundle.created", **{name: value})).startswith(
            f"data.{name} must be a string of 1 to 200"
        )
    assert refusal(sample("video.finalized", video_id=value)).startswith("data.video_id must be a string of 1 to 200")


@pytest.mark.parametrize("name", ["username", "reason", "platform_url"])
@pytest.mark.parametrize("value", [7, True, [], {}])
def test_texts_must_be_texts(name: str, value: Any) -> None:
    for type in ("account.banned", "video.finalized"):
        assert refusal(sample(type, **{name: value})) == f"data.{name} must be a string"


@pytest.mark.parametrize("position", [0, -1, 1.0, "1", True, []])
def test_position_is_counted_from_one(position: Any) -> None:
    assert refusal(sample("video.published", position=position)).startswith("data.position must be a whole number")
    assert reading(sample("video.published", position=1)).data["position"] == 1


@pytest.mark.parametrize("country", ["", "XX", "USAA", 7, []])
def test_unknown_country_is_unreadable(country: Any) -> None:
    assert refusal(sample("bundle.created", country=country)).startswith("data.country must be an ISO 3166 alpha-2")


@pytest.mark.parametrize("platform", ["", "youtube", "TIKTOK", 7, []])
def test_unknown_platform_is_unreadable(platform: Any) -> None:
    assert refusal(sample("video.finalized", platform=platform)).startswith("data.platform must be one of")


@pytest.mark.parametrize(
    ("created_at", "why"),
    [
        ("2026-11-20T17:00:00", "created_at has no offset"),
        ("20 November", "created_at is no time"),
        (1795194000, "created_at must be a string"),
        ("2014-12-31T23:59:59Z", "created_at is before 2015"),
        ("2026-11-20T19:00:00.001Z", "created_at is more than an hour ahead"),
    ],
)
def test_impossible_times_are_unreadable(created_at: Any, why: str) -> None:
    for type in ("bundle.created", "webhook.test", "credits.restored"):
        assert refusal(sample(type) | {"created_at": created_at}).startswith(why)


def test_time_may_be_an_hour_ahead_of_its_receipt() -> None:
    assert reading(sample("bundle.created") | {"created_at": "2026-11-20T19:00:00.000Z"}).kind is facts.BundleCreated


@pytest.mark.parametrize("body", [b"", b"[]", b'{"type":"webhook.test","type":"webhook.test"}', b'{"a":Infinity}'])
def test_body_that_is_no_strict_json_object_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read(PUBLIC, body, RECEIVED)


# Whatever comes

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just("2026-11-20T17:00:00Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = ["id", "saved_account_id", "username", "platform_url", "banned_at", "outcome", "accepted", "management_ended"]


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A good message in which some members are anything at all, and others gone."""
    message = copy.deepcopy(sample(draw(st.sampled_from([*KINDS, "webhook.test"]))))
    for holder in (message, message["data"]):
        for name in draw(st.lists(st.sampled_from([*holder, *NAMES, "position", "country", "platform"]))):
            if draw(st.booleans()):
                holder[name] = draw(junk)
            else:
                holder.pop(name, None)
    return message


@settings(derandomize=True, deadline=None, max_examples=400)
@given(
    damaged()
    | st.dictionaries(st.sampled_from(["type", "data", "created_at", "id"]) | st.text(max_size=5), junk)
    | junk
)
def test_anything_is_read_unreadable_or_unrecognised(message: Any) -> None:
    body = json.dumps(message).encode()
    identify(PUBLIC, body)
    try:
        seen = read(PUBLIC, body, RECEIVED)
    except (Unreadable, Unrecognised) as reason:
        assert str(reason).isprintable()
        assert len(str(reason)) < 500
    else:
        assert seen.kind is None or seen.bundle_id is not None or seen.account is not None
        assert isinstance(seen.data.get("username", ""), str | None)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=300))
def test_any_bytes_are_unreadable_or_unrecognised(body: bytes) -> None:
    with pytest.raises((Unreadable, Unrecognised)):
        read(PUBLIC, body, RECEIVED)
