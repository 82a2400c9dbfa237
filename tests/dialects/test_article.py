from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.dialects import ARTICLE, Reading, Unreadable, Unrecognised, identify, read
from orchestrator.domain import facts
from orchestrator.domain.countries import ALPHA_2
from tests.conftest import vectors

RECEIVED = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
SAMPLES: dict[str, dict[str, Any]] = {message["event"]: message for message in vectors("article")}
KINDS = {
    "bundle.created": facts.BundleCreated,
    "bundle.ready": facts.BundleReady,
    "bundle.warming_started": facts.WarmingStarted,
    "bundle.warming_completed": facts.WarmingCompleted,
    "bundle.warming_failed": facts.WarmingFailed,
    "bundle.banned": facts.BundleBanned,
    "video.upload_started": facts.UploadStarted,
    "video.upload_completed": facts.UploadCompleted,
    "video.posted": facts.VideoPosted,
    "video.post_failed": facts.PostFailed,
    "video.analytics_updated": facts.MetricsUpdated,
}
ABSENT = object()


def sample(event: str = "bundle.created", /, **members: Any) -> dict[str, Any]:
    """A good message of this type; `data__url=…` is the member `url` of `data`, ABSENT takes a member away."""
    message = copy.deepcopy(SAMPLES[event])
    for path, value in members.items():
        *holders, name = path.split("__")
        holder = message
        for part in holders:
            holder = holder[part]
        if value is ABSENT:
            del holder[name]
        else:
            holder[name] = value
    return message


def reading(message: Any, received_at: datetime = RECEIVED) -> Reading:
    return read(ARTICLE, json.dumps(message).encode(), received_at)


def refusal(message: Any, received_at: datetime = RECEIVED) -> str:
    with pytest.raises(Unreadable) as caught:
        reading(message, received_at)
    return str(caught.value)


# What is understood


def test_vectors_show_every_event_type() -> None:
    assert set(SAMPLES) == set(KINDS)


@pytest.mark.parametrize("event", sorted(KINDS))
def test_every_event_type_is_a_fact(event: str) -> None:
    message = SAMPLES[event]
    assert reading(message) == Reading(
        KINDS[event],
        datetime.fromisoformat(message["timestamp"]),
        bundle_id=message["bundle_id"],
        video_id=message["data"].get("video_id"),
        account=None,
        country="US",
        platform="tiktok",
        data=message["data"],
    )


def test_video_events_and_only_they_are_about_a_video() -> None:
    for event in KINDS:
        message = sample(event)
        message["data"]["video_id"] = "vid_7"
        assert reading(message).video_id == ("vid_7" if event.startswith("video.") else None)


def test_account_is_taken_where_it_is_named() -> None:
    message = sample("bundle.ready")
    message["data"]["saved_account_id"] = "acc_1"
    assert reading(message).account == "acc_1"


def test_unknown_members_are_kept_and_do_no_harm() -> None:
    message = sample("bundle.ready", api_version="2031", signature="0" * 64, extra=[{"x": 1}])
    message["data"]["later"] = {"a": [1, None]}
    assert reading(message).data == {"later": {"a": [1, None]}}


@pytest.mark.parametrize(
    ("event", "member"),
    [
        ("bundle.created", "data__username"),
        ("bundle.warming_started", "data__mode"),
        ("bundle.warming_failed", "data__code"),
        ("bundle.warming_failed", "data__reason"),
        ("bundle.banned", "data__reason"),
        ("video.posted", "data__url"),
        ("video.post_failed", "data__message"),
        ("video.post_failed", "data__retry"),
        ("video.post_failed", "data__retry__attempt"),
        ("video.post_failed", "data__retry__max_attempts"),
        ("video.post_failed", "data__retry__will_retry"),
        ("video.analytics_updated", "data__likes"),
        ("bundle.created", "id"),
    ],
)
def test_members_that_nothing_depends_on_may_be_missing_or_null(event: str, member: str) -> None:
    assert reading(sample(event, **{member: ABSENT})).kind is KINDS[event]
    assert reading(sample(event, **{member: None})).kind is KINDS[event]


# Event types


@pytest.mark.parametrize("event", ["bundle.paused", "video.finalized", "", "BUNDLE.CREATED", "bundle.created "])
def test_unknown_event_type_is_unrecognised(event: str) -> None:
    with pytest.raises(Unrecognised):
        reading(sample() | {"event": event})


def test_unknown_event_type_is_unrecognised_whatever_else_is_wrong_with_it() -> None:
    with pytest.raises(Unrecognised, match=r"'bundle\.paused'"):
        reading({"event": "bundle.paused"})


@pytest.mark.parametrize("event", [7, ["bundle.created"], {}, True])
def test_event_type_must_be_a_text(event: Any) -> None:
    assert refusal(sample() | {"event": event}) == "event must be a string"


# Missing and malformed fields


@pytest.mark.parametrize(
    ("event", "member", "why"),
    [
        ("bundle.created", "event", "event is missing"),
        ("bundle.created", "timestamp", "timestamp is missing"),
        ("bundle.created", "bundle_id", "bundle_id is missing"),
        ("bundle.created", "platform", "platform is missing"),
        ("bundle.created", "country", "country is missing"),
        ("bundle.created", "data", "data is missing"),
        *[(event, "data__video_id", "data.video_id is missing") for event in KINDS if event.startswith("video.")],
        ("video.post_failed", "data__error_code", "data.error_code is missing"),
    ],
)
def test_missing_field_is_named(event: str, member: str, why: str) -> None:
    assert refusal(sample(event, **{member: ABSENT})) == why
    assert refusal(sample(event, **{member: None})) == why


@pytest.mark.parametrize("event", sorted(KINDS))
@pytest.mark.parametrize("member", ["timestamp", "bundle_id", "platform", "country", "data"])
def test_every_event_type_needs_the_whole_envelope(event: str, member: str) -> None:
    assert refusal(sample(event, **{member: ABSENT})) == f"{member} is missing"


@pytest.mark.parametrize("bundle_id", [7, 1.5, True, [], {}, "", " ", "a\nb", "a\tb", "\u202eabc", "x" * 201])
def test_identifiers_are_short_printable_texts(bundle_id: Any) -> None:
    assert refusal(sample(bundle_id=bundle_id)).startswith("bundle_id must be a string of 1 to 200 printable")
    assert refusal(sample("video.posted", data__video_id=bundle_id)).startswith("data.video_id must be a string")
    assert refusal(sample(data__saved_account_id=bundle_id)).startswith("data.saved_account_id must be a string")
    for member in ("id", "event_id", "data__event_id"):
        assert refusal(sample(**{member: bundle_id})).startswith("the event id must be")


def test_identifiers_may_be_anything_printable() -> None:
    for bundle_id in ("7", "x" * 200, "été", "a b", "日本", "🙂", "../..", "'; --"):
        assert reading(sample(bundle_id=bundle_id)).bundle_id == bundle_id


@pytest.mark.parametrize(
    ("event", "member", "value"),
    [
        ("bundle.created", "data__username", 7),
        ("bundle.ready", "data__username", {"a": 1}),
        ("bundle.warming_started", "data__mode", ["niche"]),
        ("bundle.warming_failed", "data__code", 7),
        ("bundle.warming_failed", "data__reason", {}),
        ("bundle.banned", "data__reason", False),
        ("video.posted", "data__url", ["https://t.example"]),
        ("video.post_failed", "data__error_code", 500),
        ("video.post_failed", "data__message", []),
        ("video.post_failed", "data__retry", "never"),
        ("video.post_failed", "data__retry", [1, 3, False]),
        ("video.post_failed", "data__retry__attempt", "1"),
        ("video.post_failed", "data__retry__attempt", -1),
        ("video.post_failed", "data__retry__max_attempts", 1.5),
        ("video.post_failed", "data__retry__max_attempts", True),
        ("video.post_failed", "data__retry__will_retry", "false"),
        ("video.post_failed", "data__retry__will_retry", 0),
        *[
            ("video.analytics_updated", f"data__{name}", value)
            for name in ("views", "likes", "shares", "comments")
            for value in (-1, 1.0, "12", True, [], {})
        ],
    ],
)
def test_malformed_field_is_named(event: str, member: str, value: Any) -> None:
    assert refusal(sample(event, **{member: value})).startswith(member.replace("__", ".") + " must be")


@pytest.mark.parametrize("data", ["text", 7, [], True])
def test_data_must_be_an_object(data: Any) -> None:
    assert refusal(sample(data=data)) == "data must be an object"


def test_metrics_need_at_least_one_figure() -> None:
    nothing = sample("video.analytics_updated", data={"video_id": "vid_1"})
    assert refusal(nothing) == "data has none of views, likes, shares and comments"
    for name in ("views", "likes", "shares", "comments"):
        assert reading(sample("video.analytics_updated", data={"video_id": "vid_1", name: 0})).data[name] == 0


# Countries and platforms


@pytest.mark.parametrize(
    ("told", "meant"), [("US", "US"), ("USA", "US"), ("UK", "GB"), ("GB", "GB"), ("fr", "FR"), ("usa", "US")]
)
def test_countries_are_alpha_2_inside(told: str, meant: str) -> None:
    assert reading(sample(country=told)).country == meant


@pytest.mark.parametrize(
    "country", ["", "XX", "EU", "FRA", "U", "U S", " US", "Germany", "ß", "\ufb01", "\u0131t", 7, ["US"], True]
)
def test_unknown_country_is_unreadable(country: Any) -> None:
    assert refusal(sample(country=country)) == "country must be an ISO 3166 alpha-2 code, USA or UK"


def test_there_are_249_countries() -> None:
    assert len(ALPHA_2) == 249


@pytest.mark.parametrize("platform", ["tiktok", "instagram"])
def test_platforms(platform: str) -> None:
    assert reading(sample(platform=platform)).platform == platform


@pytest.mark.parametrize("platform", ["", "youtube", "TikTok", "tiktok ", 7, ["tiktok"], {}, False])
def test_unknown_platform_is_unreadable(platform: Any) -> None:
    assert refusal(sample(platform=platform)) == "platform must be one of instagram, tiktok"


# Times


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-20T17:00:00Z", datetime(2026, 11, 20, 17, tzinfo=UTC)),
        ("2026-11-20T17:00:00.123Z", datetime(2026, 11, 20, 17, 0, 0, 123_000, tzinfo=UTC)),
        ("2026-11-20T18:30:00+01:30", datetime(2026, 11, 20, 17, tzinfo=UTC)),
        ("2026-11-20T12:00:00-05:00", datetime(2026, 11, 20, 17, tzinfo=UTC)),
        ("2015-01-01T00:00:00Z", datetime(2015, 1, 1, tzinfo=UTC)),
    ],
)
def test_times_are_utc_inside(text: str, time: datetime) -> None:
    seen = reading(sample(timestamp=text)).occurred_at
    assert seen == time
    assert seen.tzinfo is UTC


@pytest.mark.parametrize("text", ["2026-11-20T17:00:00", "2026-11-20 17:00", "2026-11-20"])
def test_time_without_an_offset_is_unreadable(text: str) -> None:
    assert "no offset" in refusal(sample(timestamp=text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-20T25:00:00Z",
        "2026-11-20T17:00:60Z",
        "1795194000",
        "2026-11-20T17:00:00+24:00",
        "\uff12\uff10\uff12\uff16-11-20T17:00:00Z",
    ],
)
def test_what_is_no_time_is_unreadable(text: str) -> None:
    assert "no time in ISO 8601" in refusal(sample(timestamp=text))


@pytest.mark.parametrize("value", [1795194000, 1795194000.0, True, [], {}])
def test_time_must_be_a_text(value: Any) -> None:
    assert refusal(sample(timestamp=value)).startswith("timestamp must be a string")


@pytest.mark.parametrize("text", ["2014-12-31T23:59:59.999999Z", "2015-01-01T00:00:00+00:01", "1970-01-01T00:00:00Z"])
def test_time_before_2015_is_unreadable(text: str) -> None:
    assert refusal(sample(timestamp=text)) == "timestamp is before 2015"


def test_time_may_be_an_hour_ahead_of_its_receipt_and_no_more() -> None:
    hour = RECEIVED + timedelta(hours=1)
    assert reading(sample(timestamp=hour.isoformat())).occurred_at == hour
    later = (hour + timedelta(microseconds=1)).astimezone(timezone(timedelta(hours=9)))
    assert refusal(sample(timestamp=later.isoformat())) == "timestamp is more than an hour ahead of its receipt"
    assert reading(sample(timestamp=later.isoformat()), RECEIVED + timedelta(seconds=1)).kind is facts.BundleCreated


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00"])
def test_times_at_the_ends_of_the_calendar_are_unreadable(text: str) -> None:
    assert "2015" in refusal(sample(timestamp=text))


# The body


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"event":"bundle.created","event":"bundle.created"}', b'{"a":NaN}', b"[" * 100_000],
)
def test_body_that_is_no_strict_json_object_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read(ARTICLE, body, RECEIVED)


def test_number_out_of_range_anywhere_makes_a_message_unreadable() -> None:
    body = json.dumps(SAMPLES["video.analytics_updated"]).replace("1200", "1e999").encode()
    with pytest.raises(Unreadable, match="out of range"):
        read(ARTICLE, body, RECEIVED)


# Whatever comes

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just("2026-11-20T17:00:00Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A good message in which some members are anything at all, and others gone."""
    message = copy.deepcopy(SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))])
    for holder in (message, message["data"]):
        for name in draw(st.lists(st.sampled_from([*holder, "id", "event_id", "saved_account_id", "username"]))):
            if draw(st.booleans()):
                holder[name] = draw(junk)
            else:
                holder.pop(name, None)
    return message


@settings(derandomize=True, deadline=None, max_examples=400)
@given(
    damaged()
    | st.dictionaries(st.sampled_from(["event", "data", "timestamp", "id"]) | st.text(max_size=5), junk)
    | junk
)
def test_anything_is_read_unreadable_or_unrecognised(message: Any) -> None:
    body = json.dumps(message).encode()
    identify(ARTICLE, body)
    try:
        seen = read(ARTICLE, body, RECEIVED)
    except (Unreadable, Unrecognised) as reason:
        assert str(reason).isprintable()
        assert len(str(reason)) < 500
    else:
        assert seen.kind is not None
        assert seen.country in ALPHA_2
        assert isinstance(seen.data.get("username", ""), str | None)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=300))
def test_any_bytes_are_unreadable_or_unrecognised(body: bytes) -> None:
    with pytest.raises((Unreadable, Unrecognised)):
        read(ARTICLE, body, RECEIVED)
