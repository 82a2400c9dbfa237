"""A channel's way out: one message at a time, with pauses after failures, and never a flood."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from typing import Final

from orchestrator.alerts.channels import Channel, NotSentError
from orchestrator.alerts.groups import MINUTE, Notice
from orchestrator.alerts.messages import Text

logger = logging.getLogger(__name__)

SECOND: Final = 1_000_000
FIRST_WAIT: Final = 2 * SECOND
LONGEST_WAIT: Final = 15 * MINUTE
BURST: Final = 20
"""Messages that one channel gets in a row; afterwards one a minute."""
EVERY: Final = MINUTE
FEW: Final = 5
"""Causes that are told one by one; more at once become a digest."""
MOST: Final = 5_000
"""Causes of one digest."""

Job = Callable[[], None]


def in_thread(job: Job) -> threading.Thread:
    """Runs what may take long beside everything else. The process does not wait for it when it ends."""
    thread = threading.Thread(target=job, name="alert", daemon=True)
    thread.start()
    return thread


class Post:
    """One channel."""

    def __init__(self, name: str, run: Callable[[Job], object]) -> None:
        self.name = name
        self.failures = 0
        """In a row."""
        self.not_before = 0
        self._run = run
        self._room = float(BURST)
        self._filled_at: int | None = None
        self._under_way: tuple[Notice, ...] = ()
        self._outcome: tuple[str | None] | None = None

    @property
    def is_busy(self) -> bool:
        return bool(self._under_way)

    def is_open(self, now: int) -> bool:
        """Whether another message may be sent now."""
        if self._filled_at is not None:
            self._room = min(BURST, self._room + max(0, now - self._filled_at) / EVERY)
        self._filled_at = now
        return not self.is_busy and now >= self.not_before and self._room >= 1

    def choose(self, due: Sequence[Notice]) -> Sequence[Notice]:
        """What goes into the next message, of what is due."""
        # After a failure a single one goes first, so that it is known which it is that fails.
        return due[:1] if self.failures or len(due) <= FEW else due[:MOST]

    def send(self, channel: Channel, text: Text, notices: Sequence[Notice]) -> None:
        self._under_way = tuple(notices)
        self._room -= 1

        def job() -> None:
            problem: str | None
            try:
                channel.send(text)
                problem = None
            except NotSentError as error:
                problem = str(error)
            except Exception as error:
                logger.error("the alert channel %s failed unexpectedly: %s", self.name, type(error).__name__)
                problem = f"{channel.shown}: {type(error).__name__}"
            self._outcome = (problem,)

        self._run(job)

    def outcome(self, now: int) -> tuple[Sequence[Notice], str | None] | None:
        """What was sent, and the problem if it was not taken; None as long as nothing is known."""
        if self._outcome is None:
            return None
        (problem,), notices = self._outcome, self._under_way
        self._outcome, self._under_way = None, ()
        if problem is None:
            if self.failures:
                logger.info("the alert channel %s works again", self.name)
            self.failures, self.not_before = 0, 0
        else:
            self.failures += 1
            self.not_before = now + _wait(self.name, self.failures)
            if self.failures == 1 or self.failures % 10 == 0:
                logger.warning(
                    "the alert channel %s does not take messages, and is tried again: %s",
                    self.name,
                    problem,
                    extra={"failures": self.failures},
                )
        return notices, problem


def _wait(name: str, failures: int) -> int:
    """Back-off with full jitter above its half, seeded so that it can be told beforehand."""
    longest = min(FIRST_WAIT << min(failures - 1, 16), LONGEST_WAIT)
    return int(longest * random.Random(f"{name}:{failures}").uniform(0.5, 1))
