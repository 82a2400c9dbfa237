"""Projections with versions, what one that stopped says, and rebuilds beside the live ones."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

NAME = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    op.add_column("projections", sa.Column("version", sa.BigInteger, nullable=False, server_default="1"))
    op.add_column("projections", sa.Column("failed_at", sa.BigInteger))
    op.add_column("projections", sa.Column("failed_topic", NAME))
    op.add_column("projections", sa.Column("failure", sa.Text))
    op.add_column("projections", sa.Column("failed_since", sa.Double))
    op.create_table(
        "rebuilds",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("ordered", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("stage", NAME, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("began_at", sa.Double, nullable=False),
        sa.Column("changed_at", sa.Double, nullable=False),
        sa.Column("failure", sa.Text),
    )


def downgrade() -> None:
    op.drop_table("rebuilds")
    for name in ("failed_since", "failure", "failed_topic", "failed_at", "version"):
        op.drop_column("projections", name)
