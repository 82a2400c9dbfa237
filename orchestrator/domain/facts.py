"""The facts that TokPortal reports, one event class each, and the order among them.

A fact is ordered by its *key* (when it happened, its row in the tables below, its event id), never by when it
arrived: any arrival order of the same facts folds to the same state. The rows follow the lifecycle, so that facts
of one instant are read as cause before effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from eventsourcing.domain import CanMutateAggregate

Key = tuple[datetime, int, str, str]

ARTICLE = "article"
"""The dialect of the published article: eleven event types."""
PUBLIC = "2026-05-25"
"""The dialect of TokPortal's current public API, named by its version."""
API = "api"
"""What TokPortal's API told us in its answers. Where a listing does not say since when something is true, `data.as_of`
is the moment of the request, and `occurred_at` the latest at which it can have begun."""


@dataclass(slots=True)
class Note:
    """What an aggregate remembers of one fact: all that its state can ever depend on, and no more. Never changed;
    not frozen, since that triples the cost of making one, and every fact makes several."""

    name: str
    occurred_at: datetime
    event_id: str
    dialect: str
    bundle_id: str | None = None
    account: str | None = None
    country: str | None = None
    platform: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    key: Key = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.key = (self.occurred_at, KINDS[self.name].rank, self.event_id, self.dialect)


@dataclass(frozen=True)
class DomainEvent(CanMutateAggregate[str]):
    """Base of every domain event. `timestamp` is when we recorded it: the engine's `now`, never a wall clock."""

    originator_id: str
    originator_version: int
    timestamp: datetime
    message_id: str


@dataclass(frozen=True)
class Fact(DomainEvent):
    """Base of every fact reported by TokPortal; `occurred_at` is the vendor's time, UTC.

    `account` is the vendor's `saved_account_id`; `country` is ISO 3166 alpha-2; `data` is what the vendor sent,
    with the names of the other dialect translated.
    """

    rank: ClassVar[int] = 0
    state: ClassVar[str | None] = None
    """The state that the fact puts its subject in, if any."""
    keeps: ClassVar[tuple[str, ...]] = ()
    """The members of `data` that states depend on."""

    occurred_at: datetime
    event_id: str
    dialect: str
    bundle_id: str | None
    account: str | None
    country: str | None
    platform: str | None
    data: dict[str, Any]

    def apply(self, aggregate: Any) -> None:
        aggregate.remember(self.note())

    def note(self) -> Note:
        data = self.data
        return Note(
            name=type(self).__name__,
            occurred_at=self.occurred_at,
            event_id=self.event_id,
            dialect=self.dialect,
            bundle_id=self.bundle_id,
            account=self.account,
            country=self.country,
            platform=self.platform,
            detail={name: data[name] for name in self.keeps if name in data},
        )


class BundleFact(Fact):
    """A fact about a bundle, or, where it names only an account, about every bundle of that account."""

    keeps: ClassVar[tuple[str, ...]] = ("username", "as_of")


class AccountRemade(BundleFact):
    """The vendor rebuilt the account: the bundle starts over, with a new account id."""

    TOPIC = "AccountRemade"
    rank = 0
    state = "created"


class BundleCreated(BundleFact):
    TOPIC = "BundleCreated"
    rank = 1
    state = "created"


class BundleReady(BundleFact):
    TOPIC = "BundleReady"
    rank = 2
    state = "ready"


class WarmingStarted(BundleFact):
    TOPIC = "WarmingStarted"
    rank = 3
    state = "warming"


class WarmingCompleted(BundleFact):
    TOPIC = "WarmingCompleted"
    rank = 4
    state = "completed"


class WarmingFailed(BundleFact):
    TOPIC = "WarmingFailed"
    rank = 5
    state = "failed"
    keeps = ("username", "code", "reason")


class BundleBanned(BundleFact):
    TOPIC = "BundleBanned"
    rank = 6
    state = "banned"
    keeps = ("username", "reason", "within")


class AppealSubmitted(BundleFact):
    TOPIC = "AppealSubmitted"
    rank = 7


class AppealResolved(BundleFact):
    """`data.outcome` is `accepted`, `refused` or None where it cannot be read."""

    TOPIC = "AppealResolved"
    rank = 8
    keeps = ("username", "outcome")


class BundleCancelled(BundleFact):
    TOPIC = "BundleCancelled"
    rank = 9


class BundleArchived(BundleFact):
    TOPIC = "BundleArchived"
    rank = 10


class BundlePublished(BundleFact):
    TOPIC = "BundlePublished"
    rank = 11


class CoverageLapsed(BundleFact):
    TOPIC = "CoverageLapsed"
    rank = 12


class CoverageCancelled(BundleFact):
    TOPIC = "CoverageCancelled"
    rank = 13


class CoverageReactivated(BundleFact):
    TOPIC = "CoverageReactivated"
    rank = 14


class CoverageRenewed(BundleFact):
    TOPIC = "CoverageRenewed"
    rank = 15


class CoverageEnded(BundleFact):
    TOPIC = "CoverageEnded"
    rank = 16


class AccountRevealed(BundleFact):
    """Credentials were revealed; with `data.management_ended` the vendor no longer runs the account."""

    TOPIC = "AccountRevealed"
    rank = 17
    keeps = ("username", "management_ended")


class DistributionWarned(BundleFact):
    TOPIC = "DistributionWarned"
    rank = 18


class AccountConfigured(BundleFact):
    TOPIC = "AccountConfigured"
    rank = 19


class AccountOffered(BundleFact):
    """`account.published`: offered to the vendor's account managers, not live on the platform."""

    TOPIC = "AccountOffered"
    rank = 20


class AccountInReview(BundleFact):
    TOPIC = "AccountInReview"
    rank = 21


class AccountCorrectionsRequested(BundleFact):
    TOPIC = "AccountCorrectionsRequested"
    rank = 22


class TermVerified(BundleFact):
    TOPIC = "TermVerified"
    rank = 23


class BanResolutionDecided(BundleFact):
    TOPIC = "BanResolutionDecided"
    rank = 24


class CreditsRestored(BundleFact):
    TOPIC = "CreditsRestored"
    rank = 25


class VideoFact(Fact):
    """A fact about a video on its way to the account of `bundle_id`."""

    keeps: ClassVar[tuple[str, ...]] = ("external_ref", "as_of")

    def apply(self, aggregate: Any) -> None:
        aggregate.hear(self.note(), self.data.get("video_id"))


class VideoScheduled(VideoFact):
    TOPIC = "VideoScheduled"
    rank = 1
    state = "scheduled"


class VideoHandedOver(VideoFact):
    """`video.published`: the slot is with the account manager; nothing is on the platform yet."""

    TOPIC = "VideoHandedOver"
    rank = 2
    state = "scheduled"


class UploadStarted(VideoFact):
    TOPIC = "UploadStarted"
    rank = 3
    state = "uploading"


class UploadCompleted(VideoFact):
    TOPIC = "UploadCompleted"
    rank = 4
    state = "uploaded"


class VideoPosted(VideoFact):
    TOPIC = "VideoPosted"
    rank = 5
    state = "posted"
    keeps = (*VideoFact.keeps, "url", "review")


class PostFailed(VideoFact):
    TOPIC = "PostFailed"
    rank = 6
    state = "failed"
    keeps = (*VideoFact.keeps, "error_code", "message", "retry")


class MetricsUpdated(VideoFact):
    TOPIC = "MetricsUpdated"
    rank = 7
    keeps = (*VideoFact.keeps, "views", "likes", "shares", "comments")


class CorrectionsRequested(VideoFact):
    TOPIC = "CorrectionsRequested"
    rank = 8


class NotRecommended(VideoFact):
    TOPIC = "NotRecommended"
    rank = 9


class AiLabeled(VideoFact):
    TOPIC = "AiLabeled"
    rank = 10


class SoundRestricted(VideoFact):
    TOPIC = "SoundRestricted"
    rank = 11


@dataclass(frozen=True)
class BundleMentioned(DomainEvent):
    """A video event named this bundle and so taught us its country, platform or account. No fact of its own:
    histories do not show it."""

    TOPIC = "BundleMentioned"
    rank: ClassVar[int] = 99
    state: ClassVar[str | None] = None

    occurred_at: datetime
    event_id: str
    dialect: str
    account: str | None
    country: str | None
    platform: str | None

    def apply(self, aggregate: Any) -> None:
        aggregate.remember(self.note())

    def note(self) -> Note:
        return Note(
            "BundleMentioned",
            self.occurred_at,
            self.event_id,
            self.dialect,
            account=self.account,
            country=self.country,
            platform=self.platform,
        )


@dataclass(frozen=True)
class Reinstated(DomainEvent):
    """A person lifted every ban up to and including the one named by `occurred_at`, `event_id` and `dialect`. It is
    remembered under that ban's key: only a greater ban bans again."""

    TOPIC = "Reinstated"
    rank: ClassVar[int] = BundleBanned.rank
    state: ClassVar[str | None] = None

    occurred_at: datetime
    event_id: str
    dialect: str
    reason: str | None
    actor: dict[str, str]

    def apply(self, aggregate: Any) -> None:
        aggregate.remember(self.note())

    def note(self) -> Note:
        return Note("Reinstated", self.occurred_at, self.event_id, self.dialect)


def leaves(base: type[Any]) -> list[type[Any]]:
    """The classes below `base` that have none below them."""
    return [leaf for sub in base.__subclasses__() for leaf in ([sub] if not sub.__subclasses__() else leaves(sub))]


KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in [*leaves(Fact), BundleMentioned, Reinstated]}
"""Every class of fact by its name, which is also its topic in the log."""
