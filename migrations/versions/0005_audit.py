"""The chain over the log, and its checkpoints."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

NAME = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    # What is in the log already is chained by the engine when it starts: it may be a lot.
    op.create_table(
        "chain",
        sa.Column("batch", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("first_position", sa.BigInteger, nullable=False),
        sa.Column("last_position", sa.BigInteger, nullable=False),
        sa.Column("first_applied", sa.BigInteger, nullable=False),
        sa.Column("last_applied", sa.BigInteger, nullable=False),
        sa.Column("tags", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "replaced_marks",
        sa.Column("batch", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("status", NAME, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("first_position", sa.BigInteger, nullable=False),
        sa.Column("events", sa.Integer, nullable=False),
        sa.Column("claims", sa.SmallInteger, nullable=False),
    )
    op.create_index("replaced_marks_seq", "replaced_marks", ["seq", "batch", "number"])
    op.create_table(
        "checkpoints",
        sa.Column("batch", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("applied", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("key_id", NAME, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    for name in ("checkpoints", "replaced_marks", "chain"):
        op.drop_table(name)
