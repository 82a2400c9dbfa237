"""The log, the journal with its inbox and marks, leases, and the first read models."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAME = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    on_postgres = op.get_bind().dialect.name == "postgresql"

    op.create_table(
        "events",
        sa.Column("notification_id", POSITION, primary_key=True, autoincrement=False),
        sa.Column("originator_id", NAME, nullable=False),
        sa.Column("originator_version", sa.BigInteger, nullable=False),
        sa.Column("topic", NAME, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("originator_id", "originator_version", name="events_originator"),
    )
    if on_postgres:
        op.execute(sa.schema.CreateSequence(sa.Sequence("journal_seq")))
    op.create_table(
        "journal",
        sa.Column("seq", POSITION, sa.Sequence("journal_seq"), primary_key=True),
        sa.Column("message_id", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("endpoint", NAME, nullable=False),
        sa.Column("mode", NAME, nullable=False),
        sa.Column("dialect", NAME),
        sa.Column("event_id", NAME),
        sa.Column("id_source", NAME),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("deliveries", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table("inbox", sa.Column("seq", POSITION, primary_key=True, autoincrement=False))
    op.create_table(
        "marks",
        sa.Column("seq", POSITION, primary_key=True, autoincrement=False),
        sa.Column("applied_seq", sa.BigInteger, nullable=False, unique=True),
        sa.Column("status", NAME, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("first_position", sa.BigInteger, nullable=False),
        sa.Column("events", sa.Integer, nullable=False),
        sa.Column("dialect", NAME, nullable=False),
        sa.Column("event_id", NAME, nullable=False),
        sa.Column("claim", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("event_id", "dialect", "claim", name="marks_claim"),
    )
    op.create_index("marks_status", "marks", ["status", "seq"])
    op.create_table(
        "leases",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("ticked_at", sa.Double, nullable=False),
    )
    op.create_table(
        "world",
        sa.Column("key", NAME, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "projections",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO projections (name, position) VALUES ('bundles', 0), ('videos', 0), ('countries', 0)")
    op.create_table(
        "bundles",
        sa.Column("bundle_id", NAME, primary_key=True),
        sa.Column("platform", NAME),
        sa.Column("country", NAME),
        sa.Column("group", NAME, nullable=False),
        sa.Column("state", NAME, nullable=False),
        sa.Column("state_since", sa.Text),
        sa.Column("warmed", sa.Boolean, nullable=False),
        sa.Column("postable", sa.Boolean, nullable=False),
        sa.Column("holds", sa.Text, nullable=False),
        sa.Column("flags", sa.Text, nullable=False),
        sa.Column("username", sa.Text),
        sa.Column("saved_account_id", NAME),
        sa.Column("last_error", sa.Text),
        sa.Column("first_seen", sa.Text, nullable=False),
        sa.Column("last_event_at", sa.Text),
        sa.Column("memo", sa.LargeBinary, nullable=False),
    )
    op.create_index("bundles_country", "bundles", ["country", "platform", "bundle_id"])
    op.create_index("bundles_state", "bundles", ["state", "bundle_id"])
    op.create_index("bundles_username", "bundles", ["username"])
    op.create_table(
        "accounts",
        sa.Column("saved_account_id", NAME, primary_key=True),
        sa.Column("memo", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "bundle_accounts",
        sa.Column("saved_account_id", NAME, primary_key=True),
        sa.Column("bundle_id", NAME, primary_key=True),
    )
    op.create_index("bundle_accounts_bundle", "bundle_accounts", ["bundle_id"])
    op.create_table(
        "videos",
        sa.Column("video_id", NAME, primary_key=True),
        sa.Column("bundle_id", NAME),
        sa.Column("state", NAME, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("post_url", sa.Text),
        sa.Column("posted_at", sa.Text),
        sa.Column("error_code", NAME),
        sa.Column("flags", sa.Text, nullable=False),
        sa.Column("attempts", sa.Text, nullable=False),
        sa.Column("metrics", sa.Text),
        sa.Column("memo", sa.LargeBinary, nullable=False),
    )
    op.create_index("videos_bundle", "videos", ["bundle_id", "state"])
    op.create_index("videos_state", "videos", ["state", "video_id"])
    op.create_index("videos_error", "videos", ["error_code", "video_id"])
    op.create_table(
        "countries",
        sa.Column("country", NAME, primary_key=True),
        sa.Column("platform", NAME, primary_key=True),
        sa.Column("subject", NAME, primary_key=True),
        sa.Column("state", NAME, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
    if on_postgres:
        # Queues and read models are rewritten all the time: they need their dead rows cleared early, and room on
        # their pages for updates in place. The log and the journal are only added to.
        for table in ("inbox", "leases", "projections", "countries"):
            op.execute(
                f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)"
            )
        for table in ("leases", "projections", "countries", "bundles", "videos"):
            op.execute(f"ALTER TABLE {table} SET (fillfactor = 70)")
        op.execute("ALTER TABLE journal SET (fillfactor = 95)")


def downgrade() -> None:
    for table in (
        "countries",
        "videos",
        "bundle_accounts",
        "accounts",
        "bundles",
        "projections",
        "world",
        "leases",
        "marks",
        "inbox",
        "journal",
        "events",
    ):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(sa.schema.DropSequence(sa.Sequence("journal_seq")))
