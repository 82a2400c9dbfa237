"""What history needs to answer quickly: which accounts and videos had come to an end."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

OUTCOMES = (
    "topic IN ('AttemptCancelled', 'BundleBanned', 'FactsAdopted', 'FactsReleased', 'PostFailed', 'VideoAbandoned', "
    "'VideoCancelled', 'VideoPosted', 'WarmingFailed')"
)


def upgrade() -> None:
    op.create_index(
        "events_outcomes",
        "events",
        ["topic", "notification_id", "originator_id"],
        postgresql_where=sa.text(OUTCOMES),
        sqlite_where=sa.text(OUTCOMES),
    )


def downgrade() -> None:
    op.drop_index("events_outcomes", "events")
