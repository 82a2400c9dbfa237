"""Whether something is there."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


def exists(connection: sa.Connection, column: sa.Column[Any], value: str) -> bool:
    """Whether a row has this value in its column."""
    return connection.execute(sa.select(column).where(column == value).limit(1)).first() is not None
