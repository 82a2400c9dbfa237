from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from orchestrator.domain.times import iso


@pytest.mark.parametrize(
    ("microsecond", "expected"),
    [
        (0, "2026-11-20T17:00:00Z"),
        (250_000, "2026-11-20T17:00:00.250Z"),
        (1_000, "2026-11-20T17:00:00.001Z"),
        (1, "2026-11-20T17:00:00.000001Z"),
        (999_999, "2026-11-20T17:00:00.999999Z"),
    ],
)
def test_times_are_utc_with_as_many_digits_as_it_takes(microsecond: int, expected: str) -> None:
    time = datetime(2026, 11, 20, 17, microsecond=microsecond, tzinfo=UTC)
    assert iso(time) == expected
    assert iso(time.astimezone(timezone(timedelta(hours=5, minutes=30)))) == expected
    assert datetime.fromisoformat(iso(time)) == time
