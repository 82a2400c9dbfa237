"""Times as everything outside sees them."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(instant: datetime) -> str:
    """ISO 8601 in UTC with a Z, and as many digits of the second as it takes: none, three or six.

    `instant` must know its offset from UTC.
    """
    fraction = instant.microsecond
    digits = "microseconds" if fraction % 1000 else "milliseconds" if fraction else "seconds"
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=digits) + "Z"
