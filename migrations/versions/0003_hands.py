"""What the hands need: urgent commands, quotas at TokPortal, reconciliation, grouped alerts; slots of bundles."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

NAME = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    op.add_column("outbox", sa.Column("urgency", sa.SmallInteger, nullable=False, server_default="1"))
    op.add_column("bundles", sa.Column("slots_total", sa.BigInteger))
    op.add_column("bundles", sa.Column("slots_free", sa.BigInteger))
    op.create_table(
        "quotas",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("tokens", sa.Double, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("closed_until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "sweeps",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "alert_groups",
        sa.Column("cause", NAME, primary_key=True),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("opened_at", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
        sa.Column("told_at", sa.BigInteger, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("told", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("alert_groups_last", "alert_groups", ["last_at"])


def downgrade() -> None:
    for name in ("alert_groups", "sweeps", "quotas"):
        op.drop_table(name)
    for name in ("slots_free", "slots_total"):
        op.drop_column("bundles", name)
    op.drop_column("outbox", "urgency")
