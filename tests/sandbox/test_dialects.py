"""Webhook bodies, judged by the readers that the orchestrator has for them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator import dialects as readers
from orchestrator.dialects import article, public
from orchestrator.domain import facts
from orchestrator.sandbox.dialects import News, Subject, UnknownEventError, Wording, build, event_id, types, word
from orchestrator.simulate import types as simulated_types
from orchestrator.simulate.dialect import Dialect

AT = datetime(2026, 12, 1, 8, 30, 15, 123456, tzinfo=UTC)
SUBJECT = Subject(
    bundle_id="bdl_1",
    country="GB",
    account_id="acc_1",
    saved_account_id="sav_1",
    username="acme.gb",
    video_id="vid_1",
    position=2,
    external_ref="ours",
    platform_url="https://www.tiktok.com/@acme.gb/video/7",
)


def body(dialect: Dialect, type: str, **options: Any) -> dict[str, Any]:
    message = build(dialect, type, event_id="evt_1", at=AT, subject=SUBJECT, **options)
    parsed: dict[str, Any] = json.loads(message.body)
    return parsed


@pytest.mark.parametrize("dialect", Dialect)
def test_every_event_is_read_as_what_it_means(dialect: Dialect) -> None:
    known: Any = {Dialect.ARTICLE: article.EVENTS, Dialect.PUBLIC: public.EVENTS}[dialect]
    for type in types(dialect):
        message = build(dialect, type, event_id="evt_1", at=AT, subject=SUBJECT)
        if type == "webhook.test" and dialect is Dialect.ARTICLE:
            continue  # the article's own list has no such event
        reading = readers.read(dialect.value, message.body, AT)
        expected = known[type]
        if type == "video.in_review":
            expected = facts.VideoPosted
        assert reading.kind is expected
        if reading.kind is not None and issubclass(reading.kind, facts.VideoFact):
            assert (reading.bundle_id, reading.video_id) == ("bdl_1", "vid_1")


def test_the_public_catalogue_is_the_newest_that_the_vendor_shows() -> None:
    assert set(types(Dialect.PUBLIC)) == set(simulated_types(Dialect.PUBLIC)) == set(public.EVENTS)
    assert set(types(Dialect.ARTICLE)) == set(article.EVENTS) | {"webhook.test"}


def test_the_vendors_samples() -> None:
    """Members of the four samples that the vendor's integrations carry."""
    samples = {
        "bundle.published": "bundle_id external_ref status platform bundle_type",
        "account.finalized": "account_id saved_account_id bundle_id username platform status previous_status",
        "account.banned": "bundle_id saved_account_id username platform reason appeal_status banned_at",
        "video.finalized": "video_id bundle_id position status previous_status platform_url",
    }
    for type, members in samples.items():
        content = body(Dialect.PUBLIC, type, wording=Wording(external_ref="never"))
        assert set(content) == {"id", "type", "api_version", "created_at", "data"}
        assert set(content["data"]) == set(members.split())
    assert content["created_at"] == "2026-12-01T08:30:15.123Z"


def test_the_article_envelope_names_platform_and_country() -> None:
    content = body(Dialect.ARTICLE, "video.posted")
    assert {name: content[name] for name in ("bundle_id", "platform", "country", "timestamp")} == {
        "bundle_id": "bdl_1",
        "platform": "tiktok",
        "country": "GB",
        "timestamp": "2026-12-01T08:30:15.123Z",
    }


@pytest.mark.parametrize("dialect", Dialect)
def test_whether_our_reference_is_named_is_a_parameter_and_ids_always_are(dialect: Dialect) -> None:
    type = "video.finalized" if dialect is Dialect.PUBLIC else "video.posted"

    def named(wording: Wording, number: int) -> bool:
        message = build(dialect, type, event_id=event_id(number), at=AT, subject=SUBJECT, wording=wording)
        data = json.loads(message.body)["data"]
        assert data["video_id"] == "vid_1" and data["position"] == 2
        return "external_ref" in data

    assert all(named(Wording(external_ref="always"), number) for number in range(20))
    assert not any(named(Wording(external_ref="never"), number) for number in range(20))
    assert 20 < sum(named(Wording(external_ref="sometimes"), number) for number in range(100)) < 80


def test_countries_are_written_as_each_dialect_does() -> None:
    assert body(Dialect.PUBLIC, "bundle.created")["data"]["country"] == "UK"
    assert "country" not in body(Dialect.PUBLIC, "bundle.created", wording=Wording(country=False))["data"]
    assert body(Dialect.ARTICLE, "bundle.created")["country"] == "GB"


@pytest.mark.parametrize(
    ("dialect", "news"),
    [
        (Dialect.PUBLIC, News.POST_FAILED),
        (Dialect.PUBLIC, News.METRICS),
        (Dialect.PUBLIC, News.UPLOAD_STARTED),
        (Dialect.PUBLIC, News.WARMING_FAILED),
        (Dialect.ARTICLE, News.BUNDLE_CANCELLED),
        (Dialect.ARTICLE, News.APPEAL_SUBMITTED),
        (Dialect.ARTICLE, News.COVERAGE_LAPSED),
    ],
)
def test_some_news_have_no_word(dialect: Dialect, news: News) -> None:
    assert word(dialect, news, event_id="evt_1", at=AT, subject=SUBJECT) is None


def test_all_news_are_told_in_one_dialect_at_least() -> None:
    for news in News:
        told = [word(dialect, news, event_id="evt_1", at=AT, subject=SUBJECT) for dialect in Dialect]
        assert any(message is not None for message in told)


def test_what_is_given_replaces_what_is_said() -> None:
    assert body(Dialect.PUBLIC, "account.banned", data={"reason": "spam"})["data"]["reason"] == "spam"


def test_an_unknown_event_is_named() -> None:
    with pytest.raises(UnknownEventError, match=r"video\.exploded"):
        body(Dialect.PUBLIC, "video.exploded")
