"""What history needs to answer quickly: which accounts and videos something ever went wrong with."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

SETBACKS = (
    "topic IN ('AttemptCancelled', 'BundleBanned', 'FactsAdopted', 'PostFailed', 'VideoAbandoned', 'VideoCancelled', "
    "'WarmingFailed')"
)


def upgrade() -> None:
    op.create_index(
        "events_setbacks",
        "events",
        ["topic", "notification_id", "originator_id"],
        postgresql_where=sa.text(SETBACKS),
        sqlite_where=sa.text(SETBACKS),
    )


def downgrade() -> None:
    op.drop_index("events_setbacks", "events")
