"""Causes: what people are told of one, when, and what they are spared. Pure; times are microseconds of the real clock.

The first alert of a cause is told at once. More of the same are counted, and told together when a window has passed
since something was last told; each such message makes the window longer. When the cause has ended people are told so,
if they know of it; one that shows nothing new for a day is closed. However much a cause comes and goes, each window
has room for two messages: that there is more, and that it is over.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

MINUTE: Final = 60_000_000
WINDOWS: Final = (15 * MINUTE, 60 * MINUTE, 360 * MINUTE)
QUIET: Final = 24 * 60 * MINUTE
"""How long after the last alert a cause is closed."""
MOST_SUBJECTS: Final = 500
"""Of more it is only counted that they are: then the cause cannot be seen to end."""

FIRST, MORE, RESOLVED, QUIETED = "first", "more", "resolved", "quieted"


class Told(msgspec.Struct):
    """What one channel was told of a cause."""

    count: int = 0
    """Alerts, of all those until then."""
    at: int = 0
    step: int = 0
    """How many windows have been told of."""
    is_open: bool = False
    """Whether the last that people heard is that it goes on."""
    attempts: int = 0
    """Since it was last told something."""


class Notice(msgspec.Struct, frozen=True):
    """What is due to be told. `count`: alerts until now; `new`: those that were not told of yet; `since`: when
    something was told last, or None."""

    cause: str
    kind: str
    what: str
    count: int
    new: int
    since: int | None
    opened_at: int
    last_at: int
    is_resolved: bool
    text: str
    resolution: str | None
    about: dict[str, str]


class Group(msgspec.Struct):
    """A cause that people are, or are to be, told of."""

    cause: str
    kind: str
    head: str
    """The command of its first alert; the others are grouped under it."""
    opened_at: int
    last_at: int
    count: int = 0
    text: str = ""
    """Of the newest alert, as is `about`: ids, and the market."""
    about: dict[str, str] = {}
    subjects: list[str] = []
    """Whom it concerns and who has not recovered."""
    is_beyond: bool = False
    """Whether there were more subjects than are kept."""
    is_resolved: bool = False
    resolution: str | None = None
    is_head_settled: bool = False
    channels: dict[str, Told] = {}

    def add(self, text: str, subject: str, about: dict[str, str], channels: list[str], now: int) -> None:
        """One more alert of this cause."""
        self.count += 1
        self.last_at = max(now, self.last_at)
        self.text, self.about = text, about
        self.is_resolved, self.resolution = False, None
        if subject not in self.subjects:
            if len(self.subjects) < MOST_SUBJECTS:
                self.subjects.append(subject)
            else:
                self.is_beyond = True
        for name in channels:
            self.channels.setdefault(name, Told())

    def end(self, subject: str, text: str) -> bool:
        """The subject has recovered. Whether it was one of this cause, which ends with the last of them."""
        if subject not in self.subjects:
            return False
        self.subjects.remove(subject)
        if not self.subjects and not self.is_beyond:
            self.is_resolved, self.resolution = True, text
        return True

    def due(self, channel: str, now: int) -> Notice | None:
        """What the channel is to be told now."""
        told = self.channels[channel]
        new = self.count - told.count
        if not told.count:
            what = FIRST
        elif self.is_resolved and told.is_open:
            what = RESOLVED
        elif new and _has_passed(WINDOWS[min(told.step, len(WINDOWS) - 1)], told.at, now):
            what = MORE
        elif not new and told.is_open and told.step and _has_passed(QUIET, self.last_at, now):
            what = QUIETED
        else:
            return None
        return Notice(
            cause=self.cause,
            kind=self.kind,
            what=what,
            count=self.count,
            new=new,
            since=told.at or None,
            opened_at=self.opened_at,
            last_at=self.last_at,
            is_resolved=self.is_resolved,
            text=self.text,
            resolution=self.resolution,
            about=self.about,
        )

    def tell(self, channel: str, notice: Notice, now: int) -> None:
        """The channel was told so."""
        told = self.channels.get(channel)
        if told is None or notice.count < told.count:
            return
        told.count, told.at, told.attempts = notice.count, now, 0
        told.step += notice.what == MORE
        told.is_open = not notice.is_resolved and notice.what != QUIETED

    @property
    def is_known(self) -> bool:
        """Whether every channel has heard of it."""
        return all(told.count for told in self.channels.values())

    def is_quiet(self, now: int) -> bool:
        return now - self.last_at >= QUIET

    def is_settled(self, now: int) -> bool:
        """Whether there is nothing left to tell anybody."""
        return all(told.count == self.count and self.due(name, now) is None for name, told in self.channels.items())

    def row(self) -> dict[str, Any]:
        """As `alert_groups` keeps it."""
        return {
            "cause": self.cause,
            "kind": self.kind,
            "opened_at": self.opened_at,
            "last_at": self.last_at,
            "told_at": max((told.at for told in self.channels.values()), default=0),
            "count": self.count,
            "told": max((told.count for told in self.channels.values()), default=0),
            "body": msgspec.json.encode(self).decode(),
        }


def read_group(body: str) -> Group:
    return msgspec.json.decode(body, type=Group)


def _has_passed(window: int, since: int, now: int) -> bool:
    # A clock that was set back must not silence a cause until it has caught up.
    return now - since >= window or since - now >= window
