"""Policies: the defaults, the levels, and where each value comes from."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.policies.fields import ALERTS, FIELDS
from orchestrator.policies.schema import Ban, Budget, Failure, Policy, Posting, Reroute, Warming, parse

SHIPPED = Path(__file__).parents[2] / "config" / "policies.yaml"

DEFAULTS = Policy(
    Warming(start="created", mode="advanced", terms=(), retries=1),
    Posting(
        postable="auto",
        timezone="auto",
        days=("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
        blackout=(),
        per_day=3,
        ramp=(),
        lead_new=3,
        lead_existing=1,
    ),
    Failure(
        codes=(("content_*", "stop"), ("copyright_*", "stop"), ("*", "reroute")),
        retries=2,
        backoff=(timedelta(minutes=5), timedelta(minutes=30)),
        missed_after=timedelta(days=1),
        stuck_after={
            "uploading": timedelta(hours=1),
            "uploaded": timedelta(hours=6),
            "retrying": timedelta(days=1),
            "warming": timedelta(days=7),
        },
    ),
    Reroute(enabled=True, max=2, choose="least_loaded", backups=None, reserve=False, deadline=timedelta(days=7)),
    Ban(then="reroute", breaker_bans=3, breaker_within=timedelta(hours=24)),
    Budget(credits_per_day=0, approve_above=0),
)

EVERYTHING = """
version: 1
defaults:
  warming: {start: ready, mode: none, terms: [a1, b2, c3], retries: 0}
  posting:
    postable: [ready, completed]
    timezone: Europe/Paris
    days: [mon, fri]
    blackout: [2026-12-24..2026-12-26, 2027-01-01]
    per_day: 2
    ramp: [0, 1, 2]
    lead_days: {new: 5, existing: 2}
  failure:
    codes: {"rate_*": retry, "*": stop}
    retries: 1
    backoff: [30s, 2h]
    missed_after: 2d
    stuck_after: {uploading: 2h, uploaded: 3h, retrying: 4h, warming: 2w}
  reroute: {enabled: true, max: 5, choose: listed_order, backups: [bdl_1, bdl_2], reserve: true, deadline: 3d}
  ban: {then: hold, breaker: {bans: 7, within: 48h}}
  budget: {credits_per_day: 100, approve_above: 20}
  alerts: {"*": [ops], banned: [ops, legal], stuck: []}
groups: {acme: [bdl_1, bdl_2]}
channels:
  ops: {url: "env:OPS_ALERT_URL"}
  legal: {url: "env:LEGAL_ALERT_URL"}
"""


# Defaults.


@pytest.mark.parametrize("text", ["", "version: 1", "defaults:", "defaults: {warming: {}}\ncountries: {}"])
def test_what_is_not_said_is_the_default(text: str) -> None:
    policies = parse(text)
    assert policies.at(None, None) == DEFAULTS
    assert policies.at("US", "tiktok") == DEFAULTS
    assert policies.alerts == {"*": ("ops",)}
    assert policies.channels == {"ops": "env:OPS_ALERT_URL"}
    assert policies.groups == {}


def test_the_shipped_file_says_the_defaults_and_every_one_of_them() -> None:
    policies = parse(SHIPPED.read_text(encoding="utf-8"))
    assert policies.at("US", "tiktok") == DEFAULTS
    assert (policies.alerts, policies.channels) == (parse("").alerts, parse("").channels)
    assert {name for name, given in policies.given("US", "tiktok").items() if given.depth == 0} == set()


def test_the_shipped_file_warns_only_of_what_a_newcomer_has_to_decide() -> None:
    warnings = parse(SHIPPED.read_text(encoding="utf-8")).warnings
    assert [warning.key for warning in warnings] == ["defaults.warming.terms", "defaults.budget.approve_above"]


def test_the_first_line_of_the_shipped_file_links_the_schema_beside_it() -> None:
    first = SHIPPED.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=policies.schema.json"
    assert SHIPPED.with_name("policies.schema.json").is_file()


def test_the_shipped_file_names_every_kind_of_alert() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    assert {kind for kind in ALERTS if not re.search(rf"\b{kind}\b", text)} == set()


# Every key.


def test_every_key_is_read() -> None:
    policies = parse(EVERYTHING)
    assert policies.at("US", "tiktok") == Policy(
        Warming(start="ready", mode="none", terms=("a1", "b2", "c3"), retries=0),
        Posting(
            postable=("ready", "completed"),
            timezone="Europe/Paris",
            days=("mon", "fri"),
            blackout=((date(2026, 12, 24), date(2026, 12, 26)), (date(2027, 1, 1), date(2027, 1, 1))),
            per_day=2,
            ramp=(0, 1, 2),
            lead_new=5,
            lead_existing=2,
        ),
        Failure(
            codes=(("rate_*", "retry"), ("*", "stop")),
            retries=1,
            backoff=(timedelta(seconds=30), timedelta(hours=2)),
            missed_after=timedelta(days=2),
            stuck_after={
                "uploading": timedelta(hours=2),
                "uploaded": timedelta(hours=3),
                "retrying": timedelta(hours=4),
                "warming": timedelta(days=14),
            },
        ),
        Reroute(
            enabled=True,
            max=5,
            choose="listed_order",
            backups=("bdl_1", "bdl_2"),
            reserve=True,
            deadline=timedelta(days=3),
        ),
        Ban(then="hold", breaker_bans=7, breaker_within=timedelta(hours=48)),
        Budget(credits_per_day=100, approve_above=20),
    )
    assert policies.group_of("bdl_1") == "acme"
    assert policies.group_of("bdl_9") == "default"
    assert policies.channels_for("banned") == ("ops", "legal")
    assert policies.channels_for("stuck") == ()
    assert policies.channels_for("waiting") == ("ops",)
    assert policies.warnings == ()


def test_no_key_of_the_list_is_missing_in_the_text_that_has_them_all() -> None:
    given = parse(EVERYTHING).given(None, None)
    assert {name for name in FIELDS if given[name].depth == 0} == set()


def test_json_is_read_as_well() -> None:
    assert parse('{"version": 1, "defaults": {"posting": {"per_day": 2}}}').at("US", "tiktok").posting.per_day == 2


def test_a_byte_order_mark_and_windows_line_ends_change_nothing() -> None:
    assert parse("\ufeffversion: 1\r\ndefaults:\r\n  posting: {per_day: 2}\r\n").at("US", None).posting.per_day == 2


def test_norway_is_a_country_and_on_is_a_word() -> None:
    policies = parse("countries:\n  NO: {posting: {per_day: 1}}\ngroups: {on: [bdl_1], no: [bdl_2]}")
    assert policies.at("NO", "tiktok").posting.per_day == 1
    assert policies.group_of("bdl_1") == "on"
    assert policies.group_of("bdl_2") == "no"


@pytest.mark.parametrize(("said", "meant"), [("USA", "US"), ("UK", "GB"), ("fr", "FR")])
def test_countries_may_be_called_as_tokportal_calls_them(said: str, meant: str) -> None:
    assert parse(f"countries: {{{said}: {{posting: {{per_day: 1}}}}}}").at(meant, "tiktok").posting.per_day == 1


# Levels.

LEVELS = """
defaults:
  posting: {per_day: 2, blackout: [2026-12-24, 2026-12-25]}
  failure: {codes: {"rate_*": retry, "content_*": reroute}, stuck_after: {uploading: 2h}}
countries:
  US:
    posting: {blackout: [2026-07-04]}
    failure: {codes: {"content_nudity": stop}, stuck_after: {uploaded: 3h}}
    platforms:
      instagram: {posting: {per_day: 1}, failure: {codes: {"rate_limited": stop}}}
"""


def test_narrower_levels_win_key_by_key() -> None:
    policies = parse(LEVELS)
    assert policies.at("FR", "instagram").posting.per_day == 2
    assert policies.at("US", "tiktok").posting.per_day == 2
    assert policies.at("US", "instagram").posting.per_day == 1
    stuck = policies.at("US", "instagram").failure.stuck_after
    assert (stuck["uploading"], stuck["uploaded"]) == (timedelta(hours=2), timedelta(hours=3))
    assert stuck["warming"] == timedelta(days=7)


def test_lists_replace_those_of_wider_levels() -> None:
    fourth = date(2026, 7, 4)
    assert parse(LEVELS).at("US", "instagram").posting.blackout == ((fourth, fourth),)
    assert len(parse(LEVELS).at("FR", "tiktok").posting.blackout) == 2


def test_codes_of_narrower_levels_are_tried_first_and_the_wider_ones_after_them() -> None:
    us = parse(LEVELS).at("US", "instagram").failure
    assert [pattern for pattern, _ in us.codes] == [
        "rate_limited",
        "content_nudity",
        "rate_*",
        "content_*",
        "copyright_*",
        "*",
    ]
    assert us.action("rate_limited") == "stop"
    assert us.action("rate_exceeded") == "retry"
    assert us.action("content_nudity") == "stop"
    assert us.action("content_spam") == "reroute"
    assert us.action("copyright_music") == "stop"
    assert us.action("") == "reroute"


def test_codes_that_a_file_does_not_name_keep_their_defaults() -> None:
    failure = parse('defaults: {failure: {codes: {"upload_*": retry}}}').at("US", "tiktok").failure
    assert failure.action("upload_timeout") == "retry"
    assert failure.action("content_nudity") == "stop"
    assert failure.action("banned_hashtag") == "reroute"


def test_codes_are_case_sensitive_and_the_first_pattern_that_fits_counts() -> None:
    failure = parse('defaults: {failure: {codes: {"a_*": stop, "a?": retry}}}').at(None, None).failure
    assert [failure.action(code) for code in ("a_b", "a_", "ab", "A_b")] == ["stop", "stop", "retry", "reroute"]


def test_listed_backups_are_kept_free_where_the_policy_says_so() -> None:
    policies = parse("countries: {US: {reroute: {backups: [bdl_1], reserve: true}}, FR: {reroute: {backups: [bdl_2]}}}")
    assert policies.reserved("US", "tiktok") == {"bdl_1"}
    assert policies.reserved("FR", "tiktok") == set()
    assert policies.reserved("DE", "tiktok") == set()


def test_the_calendar_is_that_of_the_country_unless_a_zone_is_named() -> None:
    policies = parse("countries: {US: {posting: {timezone: America/Los_Angeles}}}")
    assert str(policies.at("US", "tiktok").zone("US")) == "America/Los_Angeles"
    assert str(policies.at("JP", "tiktok").zone("JP")) == "Asia/Tokyo"


EXAMPLE = """
countries:
  US:
    reroute: {backups: [bdl_us_backup_1, bdl_us_backup_2], reserve: true}
    platforms: {instagram: {posting: {per_day: 1}}}
groups: {acme: [bdl_us_1, bdl_fr_1]}   # brands or clients; the rest is the group `default`
channels:
  ops: {url: "env:OPS_ALERT_URL"}      # an Apprise URL
"""


def test_the_shipped_file_with_an_example_behind_it() -> None:
    shipped = SHIPPED.read_text(encoding="utf-8")
    policies = parse(shipped.partition("\nchannels:")[0] + EXAMPLE)
    assert policies.at("FR", "instagram") == DEFAULTS
    us = policies.at("US", "instagram")
    assert us.reroute == replace(DEFAULTS.reroute, backups=("bdl_us_backup_1", "bdl_us_backup_2"), reserve=True)
    assert us.posting == replace(DEFAULTS.posting, per_day=1)
    assert (us.warming, us.failure, us.ban, us.budget) == (
        DEFAULTS.warming,
        DEFAULTS.failure,
        DEFAULTS.ban,
        DEFAULTS.budget,
    )
    assert policies.reserved("US", "tiktok") == {"bdl_us_backup_1", "bdl_us_backup_2"}
    assert policies.groups == {"bdl_us_1": "acme", "bdl_fr_1": "acme"}
    assert policies.warnings == parse(shipped).warnings


# Where it comes from.


def test_every_value_is_shown_with_where_it_comes_from() -> None:
    found = {key: (value, where) for key, value, where, _ in parse(LEVELS).provenance("US", "instagram")}
    assert list(found) == [*FIELDS, "alerts.*"]
    assert found["warming.mode"] == ("advanced", "default")
    assert found["failure.stuck_after.uploading"] == ("2h", "defaults.failure.stuck_after.uploading (line 4)")
    assert found["posting.blackout"] == (["2026-07-04"], "countries.US.posting.blackout (line 7)")
    assert found["posting.per_day"] == (1, "countries.US.platforms.instagram.posting.per_day (line 10)")
    codes, where = found["failure.codes"]
    assert next(iter(codes.items())) == ("rate_limited", "stop")
    assert where == (
        "countries.US.platforms.instagram.failure.codes (line 10), then countries.US.failure.codes (line 8), "
        "then defaults.failure.codes (line 4), then default"
    )
    assert found["alerts.*"] == (["ops"], "default")


def test_values_are_shown_as_a_file_would_have_them() -> None:
    found = {key: value for key, value, *_ in parse(EVERYTHING).provenance(None, None)}
    assert found["posting.blackout"] == ["2026-12-24..2026-12-26", "2027-01-01"]
    assert found["failure.backoff"] == ["30s", "2h"]
    assert found["failure.stuck_after.warming"] == "14d"
    assert found["failure.codes"] == {"rate_*": "retry", "*": "stop"}
    assert found["reroute.backups"] == ["bdl_1", "bdl_2"]
    assert found["alerts.stuck"] == []


def test_what_is_shown_can_be_read_back() -> None:
    policies = parse(LEVELS)
    found: dict[str, Any] = {}
    for key, value, *_ in policies.provenance("US", "instagram"):
        level = found
        *above, last = key.split(".", 1) if key.startswith("alerts") else key.split(".")
        for part in above:
            level = level.setdefault(part, {})
        level[last] = value
    assert parse(json.dumps({"defaults": found})).at(None, None) == policies.at("US", "instagram")


def test_codes_behind_one_that_catches_everything_are_not_shown_as_if_they_counted() -> None:
    found = {
        k: (v, w) for k, v, w, _ in parse('countries: {US: {failure: {codes: {"*": stop}}}}').provenance("US", None)
    }
    assert found["failure.codes"] == ({"*": "stop"}, "countries.US.failure.codes (line 1)")


# The text.


def test_the_digest_is_that_of_the_text() -> None:
    text = "version: 1  # für alle\n"
    assert parse(text).sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert parse(text).text == text
    assert parse(text).sha256 != parse(text + "\n").sha256


# Channels.


def test_channels_whose_variable_is_not_set_are_told() -> None:
    policies = parse(EVERYTHING)
    assert policies.unheard({"OPS_ALERT_URL": "json://x", "LEGAL_ALERT_URL": "json://y"}.get) == []
    (warning,) = policies.unheard({"LEGAL_ALERT_URL": "json://y"}.get)
    assert (warning.severity, warning.line, warning.key) == ("warning", 25, "channels.ops.url")
    assert warning.message == "OPS_ALERT_URL is not set: what this channel should tell is only written to the log"


def test_the_channel_that_is_there_without_being_named_is_told_too() -> None:
    (warning,) = parse("").unheard({}.get)
    assert warning.key == "channels.ops.url"


def test_a_channel_with_a_url_of_its_own_needs_no_variable() -> None:
    assert parse("channels: {ops: {url: 'json://127.0.0.1'}}").unheard({}.get) == []
