"""What the engine decides with and about: its desk, commands, timers, decisions and campaigns."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

NAME = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")
OF_VIDEOS = ("campaign_id", "ref", "country", "platform", "group", "merged_into")
TABLES = ("desk", "outbox", "due", "decisions", "campaigns")
PROJECTIONS = ("campaigns", "decisions")


def _create_partial_index(name: str, columns: list[str]) -> None:
    where = sa.text(f"{columns[0]} IS NOT NULL")
    op.create_index(name, "videos", columns, postgresql_where=where, sqlite_where=where)


def upgrade() -> None:
    for name in OF_VIDEOS[:5]:
        op.add_column("videos", sa.Column(name, NAME))
    op.add_column("videos", sa.Column("target_day", sa.Text))
    op.add_column("bundles", sa.Column("warmed_at", sa.Text))
    op.add_column("videos", sa.Column("merged_into", NAME))
    op.drop_index("videos_error", "videos")
    _create_partial_index("videos_error", ["error_code", "video_id"])
    _create_partial_index("videos_campaign", ["campaign_id", "ref", "video_id"])
    _create_partial_index("videos_day", ["target_day", "bundle_id", "state"])
    op.create_table(
        "desk",
        sa.Column("kind", NAME, primary_key=True),
        sa.Column("name", NAME, primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("command_id", NAME, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False, unique=True),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("bundle_id", NAME),
        sa.Column("video_id", NAME),
        sa.Column("campaign_id", NAME),
        sa.Column("country", NAME),
        sa.Column("platform", NAME),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("idempotency_key", NAME),
        sa.Column("price", sa.BigInteger),
        sa.Column("status", NAME, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("message_id", NAME, nullable=False),
    )
    op.create_index("outbox_status", "outbox", ["status", "not_before", "seq"])
    op.create_index("outbox_bundle", "outbox", ["bundle_id", "seq"])
    op.create_index("outbox_video", "outbox", ["video_id", "seq"])
    op.create_table(
        "due",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("due_at", "due", ["due_at", "name"])
    op.create_table(
        "decisions",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("video_id", NAME),
        sa.Column("bundle_id", NAME),
        sa.Column("from_bundle", NAME),
        sa.Column("to_bundle", NAME),
        sa.Column("campaign_id", NAME),
        sa.Column("country", NAME),
        sa.Column("platform", NAME),
        sa.Column("reason", sa.Text),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("policy", NAME),
        sa.Column("candidates", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
    )
    op.create_index("decisions_kind", "decisions", ["kind", "position"])
    op.create_index("decisions_video", "decisions", ["video_id", "position"])
    op.create_index("decisions_bundle", "decisions", ["bundle_id", "position"])
    op.create_index("decisions_from", "decisions", ["from_bundle", "position"])
    op.create_index("decisions_to", "decisions", ["to_bundle", "position"])
    op.create_table(
        "campaigns",
        sa.Column("campaign_id", NAME, primary_key=True),
        sa.Column("name", NAME, nullable=False),
        sa.Column("group", NAME, nullable=False),
        sa.Column("status", NAME, nullable=False),
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
    )
    op.create_index("campaigns_status", "campaigns", ["status", "campaign_id"])
    # These two have read nothing yet, while the others may be far along; all five follow the log together.
    for name in ("videos", "bundles", "countries"):
        op.execute(f"DELETE FROM {name}")
    op.execute("DELETE FROM accounts")
    op.execute("DELETE FROM bundle_accounts")
    op.execute("UPDATE projections SET position = 0")
    for name in PROJECTIONS:
        op.execute(f"INSERT INTO projections (name, position) VALUES ('{name}', 0)")


def downgrade() -> None:
    for name in PROJECTIONS:
        op.execute(f"DELETE FROM projections WHERE name = '{name}'")
    for name in reversed(TABLES):
        op.drop_table(name)
    op.drop_column("bundles", "warmed_at")
    op.drop_index("videos_day", "videos")
    op.drop_index("videos_campaign", "videos")
    op.drop_index("videos_error", "videos")
    op.create_index("videos_error", "videos", ["error_code", "video_id"])
    for name in ("target_day", *OF_VIDEOS):
        op.drop_column("videos", name)
