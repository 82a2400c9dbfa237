"""Every table, as SQLAlchemy Core sees it. Migrations create them; a test holds both against each other.

Times are microseconds since 1970, UTC, except where a read model keeps the text that it answers with.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData()

Position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Name = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")
"""Identifiers are compared byte by byte, which is also what cursors rely on."""


class MessageId(sa.TypeDecorator[str]):
    """A message's id: `msg_` and 32 hex digits outside, their 16 bytes inside. The index on it is written at random
    places by every webhook, so each byte counts."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> bytes | None:
        return None if value is None else pack_message_id(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> str | None:
        return None if value is None else unpack_message_id(value)


def pack_message_id(message_id: str) -> bytes:
    """The 16 bytes of a message's id; no bytes for a text that is none, which no message has."""
    try:
        return bytes.fromhex(message_id.removeprefix("msg_")) if message_id.startswith("msg_") else b""
    except ValueError:
        return b""


def unpack_message_id(value: bytes) -> str:
    return "msg_" + bytes(value).hex()


OUTCOMES = (
    "topic IN ('AttemptCancelled', 'BundleBanned', 'FactsAdopted', 'FactsReleased', 'PostFailed', 'VideoAbandoned', "
    "'VideoCancelled', 'VideoPosted', 'WarmingFailed')"
)
"""The events without which no video is posted, and nothing fails or ends before its time. They are a few of all."""

events = sa.Table(
    "events",
    metadata,
    sa.Column("notification_id", Position, primary_key=True, autoincrement=False),
    sa.Column("originator_id", Name, nullable=False),
    sa.Column("originator_version", sa.BigInteger, nullable=False),
    sa.Column("topic", Name, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("originator_id", "originator_version", name="events_originator"),
    sa.Index(
        "events_born",
        "originator_id",
        "notification_id",
        postgresql_where=sa.text("originator_version = 1"),
        sqlite_where=sa.text("originator_version = 1"),
    ),
    sa.Index(
        "events_outcomes",
        "topic",
        "notification_id",
        "originator_id",
        postgresql_where=sa.text(OUTCOMES),
        sqlite_where=sa.text(OUTCOMES),
    ),
)
"""The log: every domain event at its position, 1, 2, 3, … without a gap. `events_born` finds what there was at a
position, name by name; `events_outcomes` what had come to which end until then."""

journal = sa.Table(
    "journal",
    metadata,
    sa.Column("seq", Position, sa.Sequence("journal_seq"), primary_key=True),
    sa.Column("message_id", MessageId, nullable=False, unique=True),
    sa.Column("kind", Name, nullable=False),
    sa.Column("endpoint", Name, nullable=False),
    sa.Column("mode", Name, nullable=False),
    sa.Column("dialect", Name),
    sa.Column("event_id", Name),
    sa.Column("id_source", Name),
    sa.Column("digest", Name, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("headers", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("received_at", sa.BigInteger, nullable=False),
    sa.Column("deliveries", sa.Integer, nullable=False),
    sqlite_autoincrement=True,
)
"""What came, as it came. Rows are only added; of a row only `deliveries` ever changes."""

inbox = sa.Table("inbox", metadata, sa.Column("seq", Position, primary_key=True, autoincrement=False))
"""What the engine has still to take. A reader that asked for "everything after the last number" would skip numbers
that commit late; this queue is read by membership, so that nothing can be skipped."""

marks = sa.Table(
    "marks",
    metadata,
    sa.Column("seq", Position, primary_key=True, autoincrement=False),
    sa.Column("applied_seq", sa.BigInteger, nullable=False, unique=True),
    sa.Column("status", Name, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("first_position", sa.BigInteger, nullable=False),
    sa.Column("events", sa.Integer, nullable=False),
    sa.Column("dialect", Name, nullable=False),
    sa.Column("event_id", Name, nullable=False),
    sa.Column("claim", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("event_id", "dialect", "claim", name="marks_claim"),
    sa.Index("marks_status", "status", "seq"),
)
"""What became of each message, in the order in which the engine took them (`applied_seq`, without a gap). `claim` is
0 for the one message that owns its event id in its dialect, and the message's own `seq` for all others."""

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", Name, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("ticked_at", sa.Double, nullable=False),
)
"""Who may work; `token` rises with every change of hands and is checked inside every commit. Seconds since 1970."""

facts_of_database = sa.Table(
    "world",
    metadata,
    sa.Column("key", Name, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
"""What this database remembers of the world that it stands for."""

projections = sa.Table(
    "projections",
    metadata,
    sa.Column("name", Name, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
    sa.Column("failed_at", sa.BigInteger),
    sa.Column("failed_topic", Name),
    sa.Column("failure", sa.Text),
    sa.Column("failed_since", sa.Double),
)
"""How far each read model has come, and the version of the program's code that made its rows. One that stopped says at
which position, at what event, why, and since when: seconds since 1970, the database's clock."""

bundles = sa.Table(
    "bundles",
    metadata,
    sa.Column("bundle_id", Name, primary_key=True),
    sa.Column("platform", Name),
    sa.Column("country", Name),
    sa.Column("group", Name, nullable=False),
    sa.Column("state", Name, nullable=False),
    sa.Column("state_since", sa.Text),
    sa.Column("warmed", sa.Boolean, nullable=False),
    sa.Column("postable", sa.Boolean, nullable=False),
    sa.Column("holds", sa.Text, nullable=False),
    sa.Column("flags", sa.Text, nullable=False),
    sa.Column("username", sa.Text),
    sa.Column("saved_account_id", Name),
    sa.Column("last_error", sa.Text),
    sa.Column("first_seen", sa.Text, nullable=False),
    sa.Column("last_event_at", sa.Text),
    sa.Column("memo", sa.LargeBinary, nullable=False),
    sa.Column("warmed_at", sa.Text),
    sa.Column("slots_total", sa.BigInteger),
    sa.Column("slots_free", sa.BigInteger),
    sa.Index("bundles_country", "country", "platform", "bundle_id"),
    sa.Index("bundles_state", "state", "bundle_id"),
    sa.Index("bundles_username", "username"),
)

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("saved_account_id", Name, primary_key=True),
    sa.Column("memo", sa.LargeBinary, nullable=False),
)
"""Part of the projection `bundles`: what was reported for an account alone."""

bundle_accounts = sa.Table(
    "bundle_accounts",
    metadata,
    sa.Column("saved_account_id", Name, primary_key=True),
    sa.Column("bundle_id", Name, primary_key=True),
    sa.Index("bundle_accounts_bundle", "bundle_id"),
)
"""Part of the projection `bundles`: every account that a bundle ever named."""

videos = sa.Table(
    "videos",
    metadata,
    sa.Column("video_id", Name, primary_key=True),
    sa.Column("bundle_id", Name),
    sa.Column("state", Name, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("post_url", sa.Text),
    sa.Column("posted_at", sa.Text),
    sa.Column("error_code", Name),
    sa.Column("flags", sa.Text, nullable=False),
    sa.Column("attempts", sa.Text, nullable=False),
    sa.Column("metrics", sa.Text),
    sa.Column("memo", sa.LargeBinary, nullable=False),
    sa.Column("campaign_id", Name),
    sa.Column("ref", Name),
    sa.Column("country", Name),
    sa.Column("platform", Name),
    sa.Column("group", Name),
    sa.Column("target_day", sa.Text),
    sa.Column("merged_into", Name),
    sa.Index("videos_bundle", "bundle_id", "state"),
    sa.Index("videos_state", "state", "video_id"),
    *(
        # Most videos of a log may be strangers, which have none of these.
        sa.Index(name, *columns, postgresql_where=present, sqlite_where=present)
        for name, columns, present in (
            ("videos_error", ("error_code", "video_id"), sa.text("error_code IS NOT NULL")),
            ("videos_campaign", ("campaign_id", "ref", "video_id"), sa.text("campaign_id IS NOT NULL")),
            ("videos_day", ("target_day", "bundle_id", "state"), sa.text("target_day IS NOT NULL")),
        )
    ),
)
"""Country, platform and group of a video that a campaign wanted; those of any other are its bundle's, joined when they
are asked for: they may be learnt late. `merged_into` is the video of ours that a stranger turned out to be."""

countries = sa.Table(
    "countries",
    metadata,
    sa.Column("country", Name, primary_key=True),
    sa.Column("platform", Name, primary_key=True),
    sa.Column("subject", Name, primary_key=True),
    sa.Column("state", Name, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
)
"""Counts by country and platform: of bundles by state, of postable bundles, of videos by state."""

desk = sa.Table(
    "desk",
    metadata,
    sa.Column("kind", Name, primary_key=True),
    sa.Column("name", Name, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
"""What the engine must find without reading the log: where every bundle, every video of ours, every campaign and every
market stands. Written in the transaction of the events that it follows from."""

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("command_id", Name, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False, unique=True),
    sa.Column("kind", Name, nullable=False),
    sa.Column("bundle_id", Name),
    sa.Column("video_id", Name),
    sa.Column("campaign_id", Name),
    sa.Column("country", Name),
    sa.Column("platform", Name),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("idempotency_key", Name),
    sa.Column("price", sa.BigInteger),
    sa.Column("status", Name, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("not_before", sa.BigInteger, nullable=False),
    sa.Column("last_error", sa.Text),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("message_id", Name, nullable=False),
    sa.Column("urgency", sa.SmallInteger, nullable=False, server_default="1"),
    sa.Index("outbox_status", "status", "not_before", "seq"),
    sa.Index("outbox_bundle", "bundle_id", "seq"),
    sa.Index("outbox_video", "video_id", "seq"),
)
"""Commands to TokPortal and alerts, in the order in which they were decided. `not_before` and `attempts` belong to
whoever executes them; everything else changes only in the engine's transactions."""

due = sa.Table(
    "due",
    metadata,
    sa.Column("name", Name, primary_key=True),
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("due_at", "due_at", "name"),
)
"""Timers: what is to be looked at again, and when. `due_at` is on the service's clock."""

quotas = sa.Table(
    "quotas",
    metadata,
    sa.Column("name", Name, primary_key=True),
    sa.Column("tokens", sa.Double, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("closed_until", sa.BigInteger, nullable=False),
)
"""What is left of what TokPortal grants, as of `at` on the service's clock: kept here so that a restart does not begin
with a full bucket. Until `closed_until` nothing is asked for at all."""

sweeps = sa.Table(
    "sweeps",
    metadata,
    sa.Column("name", Name, primary_key=True),
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)
"""What reconciliation reads from TokPortal, when next, and how far it got. `due_at` is on the service's clock."""

alert_groups = sa.Table(
    "alert_groups",
    metadata,
    sa.Column("cause", Name, primary_key=True),
    sa.Column("kind", Name, nullable=False),
    sa.Column("opened_at", sa.BigInteger, nullable=False),
    sa.Column("last_at", sa.BigInteger, nullable=False),
    sa.Column("told_at", sa.BigInteger, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("told", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("alert_groups_last", "last_at"),
)
"""Causes that people were alerted of and that have not ended: how often each came, and how many of those were told.
Microseconds since 1970, of the real clock: it is people who wait."""

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", Name, nullable=False),
    sa.Column("video_id", Name),
    sa.Column("bundle_id", Name),
    sa.Column("from_bundle", Name),
    sa.Column("to_bundle", Name),
    sa.Column("campaign_id", Name),
    sa.Column("country", Name),
    sa.Column("platform", Name),
    sa.Column("reason", sa.Text),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("policy", Name),
    sa.Column("candidates", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Index("decisions_kind", "kind", "position"),
    sa.Index("decisions_video", "video_id", "position"),
    sa.Index("decisions_bundle", "bundle_id", "position"),
    sa.Index("decisions_from", "from_bundle", "position"),
    sa.Index("decisions_to", "to_bundle", "position"),
)

campaigns = sa.Table(
    "campaigns",
    metadata,
    sa.Column("campaign_id", Name, primary_key=True),
    sa.Column("name", Name, nullable=False),
    sa.Column("group", Name, nullable=False),
    sa.Column("status", Name, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("starts", sa.Text),
    sa.Column("ends", sa.Text),
    sa.Column("labels", sa.Text, nullable=False),
    sa.Column("origin", sa.Text),
    sa.Column("wanted", sa.BigInteger, nullable=False),
    sa.Column("unmet", sa.Text, nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("changed_at", sa.Text, nullable=False),
    sa.Index("campaigns_status", "status", "campaign_id"),
)
"""Progress by state, country and day is counted over `videos` when it is asked for."""

chain = sa.Table(
    "chain",
    metadata,
    sa.Column("batch", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", Name, nullable=False),
    sa.Column("first_position", sa.BigInteger, nullable=False),
    sa.Column("last_position", sa.BigInteger, nullable=False),
    sa.Column("first_applied", sa.BigInteger, nullable=False),
    sa.Column("last_applied", sa.BigInteger, nullable=False),
    sa.Column("tags", sa.LargeBinary, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
)
"""The hash chain over the log, a row for each commit of the engine, 1, 2, 3, …: see `orchestrator.log.chain`."""

replaced_marks = sa.Table(
    "replaced_marks",
    metadata,
    sa.Column("batch", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("status", Name, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("first_position", sa.BigInteger, nullable=False),
    sa.Column("events", sa.Integer, nullable=False),
    sa.Column("claims", sa.SmallInteger, nullable=False),
    sa.Index("replaced_marks_seq", "seq", "batch", "number"),
)
"""What had become of a message before it was applied again in that batch of the chain: `marks` has the newest only."""

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("batch", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("applied", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("key_id", Name, nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
)
"""Signed statements of what the chain was at a batch: see `orchestrator.audit.checkpoints`."""

programs = sa.Table(
    "programs",
    metadata,
    sa.Column("since", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
)
"""Which program wrote the log from the position `since` on: its version, and the digest of the code that decides."""

bundle_videos = sa.Table(
    "bundle_videos",
    metadata,
    sa.Column("bundle_id", Name, primary_key=True),
    sa.Column("video_id", Name, primary_key=True),
)
"""Part of the projection `videos`: every video that an event ever named together with the bundle. What a bundle had at
some moment is among them."""

rebuilds = sa.Table(
    "rebuilds",
    metadata,
    sa.Column("name", Name, primary_key=True),
    sa.Column("ordered", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("stage", Name, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("done", sa.BigInteger, nullable=False),
    sa.Column("total", sa.BigInteger, nullable=False),
    sa.Column("began_at", sa.Double, nullable=False),
    sa.Column("changed_at", sa.Double, nullable=False),
    sa.Column("failure", sa.Text),
)
"""The newest rebuild of each read model: up to which position its copy reflects the log, how many events it has read of
how many. `ordered` is the position of the newest order that was taken up. Seconds since 1970, the database's clock."""
