"""Times as everything outside sees them."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(instant: datetime) -> str:
    """ISO 8601 in UTC with a Z, and as many digits of the second as it takes: none, three or six.

    `instant` must know its offset from UTC.
    """
    if instant.microsecond == 0:
        digits = "seconds"
    else:
        digits = "microseconds" if instant.microsecond % 1000 else "milliseconds"
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=digits) + "Z"
