from __future__ import annotations

import json
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from orchestrator.simulate.dialect import Dialect
from orchestrator.simulate.events import UNKNOWN_TYPE, Account, Message, Video, build, types

AT = datetime(2026, 11, 20, 17, 0, 0, 123456, UTC)
ARTICLE_TYPES = {
    "bundle.created",
    "bundle.ready",
    "bundle.warming_started",
    "bundle.warming_completed",
    "bundle.warming_failed",
    "bundle.banned",
    "video.upload_started",
    "video.upload_completed",
    "video.posted",
    "video.post_failed",
    "video.analytics_updated",
}
PUBLIC_TYPES = {
    "webhook.test",
    *(f"bundle.{name}" for name in ("created", "published", "cancelled", "archived")),
    *(f"account.{name}" for name in ("configured", "published", "in_review", "pending_corrections", "finalized")),
    *(f"account.{name}" for name in ("remade", "banned", "revealed", "distribution_warning")),
    *(f"account.{name}" for name in ("ban_appeal.submitted", "ban_appeal.resolved", "ban_resolution.decided")),
    *(f"video.{name}" for name in ("configured", "published", "in_review", "pending_corrections", "finalized")),
    *(f"video.{name}" for name in ("not_recommended", "ai_labeled", "sound_restricted")),
    *(f"warming.{name}" for name in ("session_started", "term_verified", "session_completed")),
    *(f"subscription.{name}" for name in ("renewed", "lapsed", "cancelled", "reactivated", "ended")),
    "credits.restored",
}
EVERY = [(dialect, type) for dialect in Dialect for type in (*types(dialect), UNKNOWN_TYPE)]


def message(
    dialect: Dialect, type: str, overrides: dict[str, Any] | None = None, country: str = "GB", seed: int = 1
) -> Message:
    account = Account("b-1", "a-1", "acme.uk", "tiktok", country, "s-1")
    video = Video("v-1", 1, "https://www.tiktok.com/@acme.uk/video/1")
    random = Random(seed)
    return build(
        dialect, type, event_id="evt_1", at=AT, account=account, video=video, random=random, overrides=overrides
    )


def built(dialect: Dialect, type: str, overrides: dict[str, Any] | None = None, country: str = "GB") -> dict[str, Any]:
    made = message(dialect, type, overrides, country)
    content = json.loads(made.body)
    assert isinstance(content, dict)
    assert (made.event_id, made.type) == (content.get("id"), type)
    return content


def test_catalogues_are_complete() -> None:
    assert set(types(Dialect.ARTICLE)) == ARTICLE_TYPES
    assert set(types(Dialect.PUBLIC)) == PUBLIC_TYPES
    assert len(PUBLIC_TYPES) == 34


@pytest.mark.parametrize(("dialect", "type"), EVERY)
def test_every_type_has_its_dialects_envelope(dialect: Dialect, type: str) -> None:
    content = built(dialect, type)
    data = content.pop("data")
    if dialect is Dialect.ARTICLE:
        assert content == {
            "id": "evt_1",
            "event": type,
            "timestamp": "2026-11-20T17:00:00.123Z",
            "bundle_id": "b-1",
            "platform": "tiktok",
            "country": "GB",
        }
    else:
        created = "2026-11-20T17:00:00.123Z"
        assert content == {"id": "evt_1", "type": type, "api_version": "2026-05-25", "created_at": created}
    assert isinstance(data, dict)
    if type.startswith("video."):
        assert data["video_id"] == "v-1"


@pytest.mark.parametrize(("dialect", "type"), EVERY)
def test_same_random_source_same_bytes(dialect: Dialect, type: str) -> None:
    assert message(dialect, type) == message(dialect, type)


@pytest.mark.parametrize(
    ("type", "fields"),
    [
        ("bundle.published", "bundle_id external_ref status platform bundle_type"),
        ("account.finalized", "account_id saved_account_id bundle_id username platform status previous_status"),
        ("account.banned", "bundle_id saved_account_id username platform reason appeal_status banned_at"),
        ("video.finalized", "video_id bundle_id position status previous_status platform_url"),
    ],
)
def test_fields_of_the_vendors_samples(type: str, fields: str) -> None:
    assert list(built(Dialect.PUBLIC, type)["data"]) == fields.split()


def test_a_subscription_names_only_the_account() -> None:
    data = built(Dialect.PUBLIC, "subscription.lapsed")["data"]
    assert data["saved_account_id"] == "s-1"
    assert "bundle_id" not in data


@pytest.mark.parametrize(("country", "code"), [("GB", "UK"), ("US", "USA"), ("FR", "FR")])
def test_the_public_dialect_writes_countries_in_vendor_codes(country: str, code: str) -> None:
    assert built(Dialect.PUBLIC, "bundle.created", country=country)["data"]["country"] == code


def test_overrides_reach_envelope_and_data() -> None:
    overrides = {"id": "evt_x", "country": None, "url": "u", "data.retry.attempt": 2, "retry.will_retry": True}
    content = built(Dialect.ARTICLE, "video.post_failed", overrides)
    assert (content["id"], content["country"], content["data"]["url"]) == ("evt_x", None, "u")
    assert content["data"]["retry"] == {"attempt": 2, "max_attempts": 3, "will_retry": True}


def test_overrides_make_the_objects_that_are_missing() -> None:
    assert built(Dialect.ARTICLE, "bundle.ready", {"a.b.c": 1})["data"] == {"a": {"b": {"c": 1}}}


def test_overrides_can_replace_the_whole_data() -> None:
    assert built(Dialect.PUBLIC, "webhook.test", {"data": []})["data"] == []


def test_a_type_of_no_catalogue_is_refused() -> None:
    with pytest.raises(KeyError):
        built(Dialect.ARTICLE, "bundle.publishd")


def test_public_is_a_name_of_the_dialect() -> None:
    assert Dialect("public") is Dialect.PUBLIC
    with pytest.raises(ValueError):
        Dialect("publik")
