"""What history needs to answer: which program wrote which stretch of the log, when each aggregate was first heard of,
and which videos a bundle ever had."""

from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

NAME = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")
BORN = "originator_version = 1"
PAGE = 20_000


def upgrade() -> None:
    op.create_table(
        "programs",
        sa.Column("since", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
    )
    op.create_table(
        "bundle_videos",
        sa.Column("bundle_id", NAME, primary_key=True),
        sa.Column("video_id", NAME, primary_key=True),
    )
    op.create_index(
        "events_born",
        "events",
        ["originator_id", "notification_id"],
        postgresql_where=sa.text(BORN),
        sqlite_where=sa.text(BORN),
    )
    _fill(op.get_bind())


def _fill(connection: sa.Connection) -> None:
    """The videos of the bundles that are known already, as far as the projection has come."""
    reached = connection.exec_driver_sql("SELECT min(position) FROM projections WHERE name = 'videos'").scalar()
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    query = sa.text(
        "SELECT notification_id, originator_id, state FROM events WHERE notification_id > :after "
        "AND notification_id <= :reached ORDER BY notification_id LIMIT :page"
    )
    add = sa.text(
        "INSERT INTO bundle_videos (bundle_id, video_id) VALUES (:bundle_id, :video_id) ON CONFLICT DO NOTHING"
    )
    after = 0
    while rows := connection.execute(query, {"after": after, "reached": reached or 0, "page": PAGE}).all():
        pairs = set()
        for _, originator_id, state in rows:
            if originator_id.startswith("video:"):
                pairs |= {(name, originator_id.removeprefix("video:")) for name in _named(decode(bytes(state)))}
        if pairs:
            connection.execute(add, [{"bundle_id": name, "video_id": video} for name, video in sorted(pairs)])
        after = rows[-1][0]


def _named(event: dict[str, Any]) -> set[str]:
    if "occurred_at" in event:
        return {event["bundle_id"]} if event.get("bundle_id") is not None else set()
    data = event.get("data", {})
    named = {data.get("bundle_id")}
    if "stranger" in data:
        named |= {note[4] for note in data.get("notes", ())}
    return {name for name in named if name is not None}


def downgrade() -> None:
    op.drop_index("events_born", "events")
    for name in ("bundle_videos", "programs"):
        op.drop_table(name)
