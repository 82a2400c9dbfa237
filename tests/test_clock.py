from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from orchestrator.clock import Clock, RealClock, Scale, ScaledClock

EPOCH = datetime(2026, 12, 1, tzinfo=UTC)
ANCHOR = datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))


class Watch:
    """Real time that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = ANCHOR

    def __call__(self) -> int:
        return (self.time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def test_real_clock() -> None:
    before = time.time_ns() // 1000
    microseconds = RealClock().microseconds()
    now = RealClock().now()
    after = datetime.now(UTC)
    assert before <= microseconds
    assert datetime.fromtimestamp(microseconds // 1_000_000, UTC) <= now <= after
    assert now.tzinfo is UTC


def test_scaled_clock_begins_at_its_epoch() -> None:
    assert ScaledClock(EPOCH, 600, ANCHOR, Watch()).now() == EPOCH


@pytest.mark.parametrize("speed", [0.5, 1, 600, 86_400])
def test_scaled_clock_runs_at_its_speed(speed: float) -> None:
    watch = Watch()
    clock: Clock = ScaledClock(EPOCH, speed, ANCHOR, watch)
    watch.time += timedelta(seconds=90)
    assert clock.now() == EPOCH + timedelta(seconds=90) * speed
    assert clock.now().tzinfo is UTC
    assert clock.microseconds() == 1_796_083_200_000_000 + int(90_000_000 * speed)


def test_scaled_clock_knows_times_before_its_world() -> None:
    watch = Watch()
    watch.time -= timedelta(seconds=1)
    assert ScaledClock(EPOCH, 60, ANCHOR, watch).now() == EPOCH - timedelta(minutes=1)


def test_scaled_clock_stands_still_at_the_end_of_the_calendar() -> None:
    watch = Watch()
    watch.time += timedelta(days=365)
    assert ScaledClock(EPOCH, 1e9, ANCHOR, watch).now() == datetime.max.replace(tzinfo=UTC)


def test_scaled_clock_never_runs_backwards_while_real_time_does_not() -> None:
    watch = Watch()
    clock = ScaledClock(EPOCH, 0.3, ANCHOR, watch)
    shown = []
    for _ in range(100):
        shown.append(clock.microseconds())
        watch.time += timedelta(microseconds=1)
    assert shown == sorted(shown)


def test_world_goes_on_after_a_restart() -> None:
    watch = Watch()
    watch.time += timedelta(hours=1)
    assert ScaledClock(EPOCH, 60, ANCHOR, watch).now() == ScaledClock(EPOCH, 60, ANCHOR, watch).now()


@pytest.mark.parametrize(
    ("epoch", "speed", "anchor"),
    [
        (EPOCH.replace(tzinfo=None), 1.0, ANCHOR),
        (EPOCH, 1.0, ANCHOR.replace(tzinfo=None)),
        (EPOCH, 0.0, ANCHOR),
        (EPOCH, -1.0, ANCHOR),
        (EPOCH, float("nan"), ANCHOR),
    ],
)
def test_scaled_clock_refuses(epoch: datetime, speed: float, anchor: datetime) -> None:
    with pytest.raises(ValueError, match="a clock needs"):
        ScaledClock(epoch, speed, anchor)


@pytest.mark.parametrize(
    ("text", "scale", "shown"),
    [
        ("2026-12-01T00:00:00Z@600", Scale(EPOCH, 600), "2026-12-01T00:00:00Z@600"),
        ("2026-12-01T05:30:00+05:30@0.5", Scale(EPOCH, 0.5), "2026-12-01T00:00:00Z@0.5"),
        (" 1796083200 @ 86400 ", Scale(EPOCH, 86_400), "2026-12-01T00:00:00Z@86400"),
        ("1796083200.25@1", Scale(EPOCH + timedelta(milliseconds=250), 1), "2026-12-01T00:00:00.250000Z@1"),
    ],
)
def test_scale(text: str, scale: Scale, shown: str) -> None:
    assert Scale.parse(text) == scale
    assert str(scale) == shown
    assert Scale.parse(shown) == scale


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "is no clock"),
        ("600", "is no clock"),
        ("2026-12-01@600", "'2026-12-01' is no time with an offset"),
        ("2026-12-01T00:00:00@600", "is no time with an offset"),
        ("0001-01-01T00:00:00+14:00@600", "is no time with an offset"),
        ("999999999999@600", "is no time with an offset"),
        ("yesterday@600", "'yesterday' is no time"),
        ("@600", "'' is no time"),
        ("1796083200@", "'' is no speed"),
        ("1796083200@0", "'0' is no speed above 0"),
        ("1796083200@0.0", "is no speed above 0"),
        ("1796083200@-1", "'-1' is no speed"),
        ("1796083200@1e3", "'1e3' is no speed"),
        ("1796083200@inf", "'inf' is no speed"),
        ("1796083200@6_0", "'6_0' is no speed"),
        ("1796083200@٣", "is no speed"),
    ],
)
def test_scale_refuses(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match="write EPOCH@SPEED") as caught:
        Scale.parse(text)
    assert wrong in str(caught.value)


def test_scale_makes_the_clock_of_a_world() -> None:
    assert Scale(EPOCH, 1e-9).clock(datetime.now(UTC)).now() - EPOCH < timedelta(seconds=1)
