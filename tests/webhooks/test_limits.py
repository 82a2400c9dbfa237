from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.webhooks.limits import MAX_SENDERS, RateLimit

NOW = 1795196800.0
SENDER = "203.0.113.9"
OTHER = "203.0.113.10"


def taken(limit: RateLimit, sender: str, now: float, attempts: int) -> int:
    return sum(limit.allow(sender, now) == 0.0 for _ in range(attempts))


# The rate


@pytest.mark.parametrize(
    ("rate", "burst", "seconds"),
    [("50/s", 50, 1 / 50), ("1/s", 1, 1), ("30/m", 30, 2), ("60/h", 60, 60), (" 5/s ", 5, 1 / 5)],
)
def test_rate_is_so_many_at_once_and_then_one_each_interval(rate: str, burst: int, seconds: float) -> None:
    limit = RateLimit(rate)
    assert taken(limit, SENDER, NOW, burst + 10) == burst
    assert limit.allow(SENDER, NOW) == pytest.approx(seconds, abs=1e-5)
    assert limit.allow(SENDER, NOW + seconds * 0.9) == pytest.approx(seconds * 0.1, abs=1e-5)
    assert limit.allow(SENDER, NOW + seconds * 1.01) == 0.0
    assert limit.allow(SENDER, NOW + seconds * 1.02) > 0.0


@pytest.mark.parametrize(
    "rate",
    [
        *["", "50", "/s", "50/", "50/d", "50/S", "50/sec", "0/s", "-1/s", "+1/s", "1.5/s", "1e3/s", "5_0/s", "050/s"],
        *["\u0665/s", "50 / s", "1000000000/s", "50/s,10/m", "50/s\n50/s", "s/50", "nan/s"],
    ],
)
def test_bad_rate_is_named_with_what_would_be_right(rate: str) -> None:
    with pytest.raises(ValueError) as caught:
        RateLimit(rate)
    assert repr(rate) in str(caught.value)
    assert "50/s, 600/m or 1000/h" in str(caught.value)


# The bucket


def test_bucket_fills_up_again_but_never_over_its_size() -> None:
    limit = RateLimit("5/s")
    assert taken(limit, SENDER, NOW, 9) == 5
    assert taken(limit, SENDER, NOW + 0.41, 9) == 2
    assert taken(limit, SENDER, NOW + 1_000_000, 9) == 5


def test_being_refused_costs_nothing() -> None:
    limit = RateLimit("1/m")
    assert limit.allow(SENDER, NOW) == 0.0
    for second in range(1, 60):
        assert limit.allow(SENDER, NOW + second) == pytest.approx(60 - second, abs=1e-5)
    assert limit.allow(SENDER, NOW + 60.001) == 0.0


def test_clock_set_back_neither_blocks_nor_fills() -> None:
    limit = RateLimit("1/m")
    assert limit.allow(SENDER, NOW) == 0.0
    assert limit.allow(SENDER, NOW - 86_400) == pytest.approx(60, abs=1e-5)
    assert limit.allow(SENDER, NOW - 86_400 + 61) == 0.0


@pytest.mark.parametrize("rate", ["3/s", "50/s", "7/m", "11/h"])
def test_wait_is_never_a_rounding_error_too_short(rate: str) -> None:
    limit = RateLimit(rate)
    now = NOW
    for _ in range(200):
        wait = limit.allow(SENDER, now)
        if wait:
            now += wait
            assert limit.allow(SENDER, now) == 0.0


RATES = st.builds("{}/{}".format, st.integers(1, 999_999), st.sampled_from("smh"))


@given(RATES, st.lists(st.floats(0, 10), min_size=1, max_size=40))
def test_who_waits_as_told_is_let_in(rate: str, pauses: list[float]) -> None:
    limit = RateLimit(rate)
    now = NOW
    for pause in pauses:
        now += pause
        wait = limit.allow(SENDER, now)
        if wait:
            now += wait
            assert limit.allow(SENDER, now) == 0.0


@given(st.integers(1, 20), st.lists(st.floats(0, 0.3), min_size=1, max_size=200))
def test_no_more_than_the_rate_gets_through_in_the_long_run(per_second: int, pauses: list[float]) -> None:
    limit = RateLimit(f"{per_second}/s")
    now = NOW
    through = 0
    for pause in pauses:
        now += pause
        through += limit.allow(SENDER, now) == 0.0
    assert through <= per_second + per_second * (now - NOW) + 1e-3


# The senders


def test_each_sender_has_its_own_bucket() -> None:
    limit = RateLimit("1/s")
    assert limit.allow(SENDER, NOW) == 0.0
    assert limit.allow(SENDER, NOW) > 0.0
    assert limit.allow(OTHER, NOW) == 0.0


@pytest.mark.parametrize(
    ("one", "another", "same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:2::1", "2001:db8:0:3::1", False),
        ("203.0.113.9", "::ffff:203.0.113.9", True),
        ("203.0.113.9", "203.0.113.8", False),
        ("0.0.0.1", "0:0:0:1::", False),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("", "testclient", False),
        ("x" * 100_000, "x" * 100_001, True),
    ],
)
def test_grouping(one: str, another: str, same: bool) -> None:
    limit = RateLimit("1/h")
    assert limit.allow(one, NOW) == 0.0
    assert (limit.allow(another, NOW) > 0.0) == same


def test_10000_senders_are_remembered_and_the_longest_unseen_is_forgotten_first() -> None:
    limit = RateLimit("1/h")
    for number in range(MAX_SENDERS):
        limit.allow(f"sender {number}", NOW)
    limit.allow("sender 0", NOW)
    limit.allow("one more", NOW)
    assert len(limit) == MAX_SENDERS == 10_000
    assert limit.allow("sender 0", NOW) > 0.0, "seen again, so not the oldest"
    assert limit.allow("sender 2", NOW) > 0.0
    assert limit.allow("sender 1", NOW) == 0.0, "forgotten"
    assert len(limit) == MAX_SENDERS
