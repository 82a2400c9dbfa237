"""Wakes a loop at regular times."""

from __future__ import annotations

import logging
import threading

from apscheduler.schedulers.background import BackgroundScheduler


class Waker:
    """APScheduler says when; what is due, and whether it was missed, our own table knows."""

    def __init__(self, every: float) -> None:
        """`every`: seconds."""
        self._awake = threading.Event()
        # A wake-up that a busy machine skips is warned of, and is none that anybody misses.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler = BackgroundScheduler(timezone="UTC")
        self._scheduler.add_job(
            self._awake.set, "interval", seconds=every, coalesce=True, max_instances=1, misfire_grace_time=None
        )

    def __enter__(self) -> Waker:
        self._scheduler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._scheduler.shutdown(wait=False)

    def wait(self, at_most: float) -> bool:
        """Returns when it is time again, or after `at_most` seconds; whether it was time."""
        is_time = self._awake.wait(at_most)
        self._awake.clear()
        return is_time
