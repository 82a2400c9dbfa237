"""APScheduler says when; nothing else depends on it."""

from __future__ import annotations

import threading

from orchestrator.timers import Waker


def test_it_wakes_at_regular_times_and_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    with Waker(0.01) as waker:
        for _ in range(3):
            assert waker.wait(60)

    assert threading.active_count() == before


def test_without_it_the_loop_goes_on_more_slowly() -> None:
    assert not Waker(60).wait(0.01)
