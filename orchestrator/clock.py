"""The time of a world: the real one, or that of a sandbox which began at will and runs at its own speed."""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

_ORIGIN: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_LAST: Final = (datetime.max.replace(tzinfo=UTC) - _ORIGIN) // _MICROSECOND
_UNIX: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,6})?")
_SPEED: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")


def instant_of(microseconds: int) -> datetime:
    """Microseconds since 1970 as an aware datetime in UTC."""
    return _ORIGIN + timedelta(microseconds=microseconds)


def _real_time() -> int:
    return time.time_ns() // 1000


class Clock(ABC):
    """Tells the time of a world."""

    @abstractmethod
    def microseconds(self) -> int:
        """Microseconds since 1970, UTC."""

    def now(self) -> datetime:
        """The same moment as an aware datetime in UTC."""
        return _ORIGIN + timedelta(microseconds=self.microseconds())


class RealClock(Clock):
    """The system's clock. It may be set back; who needs time that never runs backwards sees to that."""

    def microseconds(self) -> int:
        return _real_time()


class ScaledClock(Clock):
    """A clock that showed `epoch` at the real time `anchor`, and goes `speed` times as fast as the real one."""

    def __init__(
        self,
        epoch: datetime,
        speed: float,
        anchor: datetime,
        real: Callable[[], int] = _real_time,
    ) -> None:
        """
        Args:
            epoch: what the world's time was when it began.
            speed: seconds of the world in one real second.
            anchor: the real time at which the world began. Whoever remembers it can stop a world and go on later:
                time passes meanwhile.
            real: the real time, in microseconds since 1970.

        Raises:
            ValueError: a time without an offset, or a speed that is not above 0.
        """
        if epoch.tzinfo is None or anchor.tzinfo is None:
            raise ValueError("a clock needs times with an offset")
        if not speed > 0:
            raise ValueError("a clock needs a speed above 0")
        self._epoch = (epoch - _ORIGIN) // _MICROSECOND
        self._anchor = (anchor - _ORIGIN) // _MICROSECOND
        self._speed = speed
        self._real = real

    def microseconds(self) -> int:
        passed = self._epoch + int((self._real() - self._anchor) * self._speed)
        # A fast world that was left running reaches the end of the calendar, where it stands still.
        return min(passed, _LAST)


@dataclass(frozen=True, slots=True)
class Scale:
    """How the time of a sandbox world runs: from `epoch` on, `speed` seconds in one real second."""

    epoch: datetime
    speed: float

    @classmethod
    def parse(cls, text: str) -> Scale:
        """Read `EPOCH@SPEED`: an ISO 8601 time with an offset or Unix seconds, and a number above 0.

        Raises:
            ValueError: `text` is not of that form; says what would be right.
        """
        epoch, at, speed = text.strip().partition("@")
        form = "write EPOCH@SPEED, as 2026-12-01T00:00:00Z@600 or 1796083200@600"
        if not at:
            raise ValueError(f"{text!r} is no clock: {form}, or real")
        moment = _moment(epoch.strip())
        if moment is None:
            raise ValueError(f"{epoch!r} is no time with an offset and no Unix time in seconds: {form}")
        if not _SPEED.fullmatch(speed.strip()) or not float(speed) > 0:
            raise ValueError(f"{speed!r} is no speed above 0: {form}")
        return cls(moment, float(speed))

    def clock(self, anchor: datetime) -> ScaledClock:
        """The clock of the world that began at the real time `anchor`."""
        return ScaledClock(self.epoch, self.speed, anchor)

    def __str__(self) -> str:
        return f"{self.epoch.isoformat().replace('+00:00', 'Z')}@{self.speed:.15g}"


def _moment(text: str) -> datetime | None:
    try:
        if _UNIX.fullmatch(text):
            return _ORIGIN + timedelta(seconds=float(text))
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
