"""The events that are ours: what policies decided, what people ordered, and what became of both.

They have no place in the order of the vendor's facts. What an event answers is named by `answers`, the key of that
fact; what it says is in `data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from orchestrator.domain.facts import DomainEvent, Key, Note, leaves
from orchestrator.domain.times import iso

POLICY = {"kind": "policy", "name": "policies"}
"""The actor of what no person ordered."""


@dataclass(slots=True)
class Step:
    """What an aggregate remembers of an event of ours. Steps are in the order of the log."""

    name: str
    at: datetime
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class Ours(DomainEvent):
    """Base of our own events. `policy` is the SHA-256 of the policies in force, `actor` who wanted it:
    `{kind: person|agent|trigger|policy, name}`."""

    decision: ClassVar[str | None] = None
    """The kind of decision that this is, if it is one."""
    forgets: ClassVar[tuple[str, ...]] = ("candidates",)
    """The members of `data` that states do not depend on."""

    reason: str | None
    actor: dict[str, str]
    policy: str | None
    answers: list[Any] | None
    data: dict[str, Any]

    def apply(self, aggregate: Any) -> None:
        aggregate.take(self.step())

    def step(self) -> Step:
        detail = {name: value for name, value in self.data.items() if name not in self.forgets}
        if self.reason is not None:
            detail["reason"] = self.reason
        return Step(type(self).__name__, self.timestamp, detail)


class BundlePaused(Ours):
    TOPIC = "BundlePaused"


class BundleResumed(Ours):
    TOPIC = "BundleResumed"


class ReviewRequested(Ours):
    """A person has to look at the bundle; until then it is held."""

    TOPIC = "ReviewRequested"
    decision = "review"


class Reviewed(Ours):
    """A person has looked. `data.up_to`: the greatest fact known then; what it and those before it ask is answered."""

    TOPIC = "Reviewed"


class WarmingRequested(Ours):
    """`data`: `era` (how many remakes were known), `tries` (the first is 1), `mode`, `terms`, `command_id`."""

    TOPIC = "WarmingRequested"
    decision = "warm"


class SlotsCounted(Ours):
    """TokPortal told how many slots the bundle has, and how many of them are free. `data`: `total` (None where only the
    free ones are known), `free`, `at` (when); where it takes no videos although it may have slots, the `code` of the
    refusal."""

    TOPIC = "SlotsCounted"


class DayFilled(Ours):
    """TokPortal takes no further video for this day on the bundle. `data`: `day`, `count` (how many it has)."""

    TOPIC = "DayFilled"


class SlotsOrdered(Ours):
    """More slots are to be bought for the bundle. `data`: `number` of the order, `quantity`, `had` (None where nobody
    knows the total), `command_id`."""

    TOPIC = "SlotsOrdered"


class CommandPriced(Ours):
    """TokPortal named another price for a command. `data`: `command_id`, `price`."""

    TOPIC = "CommandPriced"


class VideoRequested(Ours):
    """A campaign wants this content on an account. `data`: `campaign_id`, `target`, `ref`, `platform`, `country`,
    `group`, `starts`, `ends`, `bundles`, `accounts`, `day`."""

    TOPIC = "VideoRequested"


class VideoPlanned(Ours):
    """`data`: `number` of the attempt, `bundle_id`, `account`, `target_day`, `candidates`."""

    TOPIC = "VideoPlanned"
    decision = "place"


class VideoRescheduled(Ours):
    """The same attempt on another day. `data`: `number`, `bundle_id`, `target_day`."""

    TOPIC = "VideoRescheduled"
    decision = "place"


class VideoRetried(Ours):
    """The same attempt once more. `data`: `number`, `bundle_id`, `tries`, `since` (the key up to which facts no longer
    speak), `not_before`."""

    TOPIC = "VideoRetried"
    decision = "retry"


class VideoRerouted(Ours):
    """A further attempt on another account. `data`: `number`, `from_bundle`, `bundle_id`, `account`, `target_day`,
    `candidates`."""

    TOPIC = "VideoRerouted"
    decision = "reroute"


class AttemptCancelled(Ours):
    """The attempt is left behind. `data`: `number`, `bundle_id`."""

    TOPIC = "AttemptCancelled"


class VideoWaiting(Ours):
    """Nobody qualifies yet. `data`: `original_day`, `deadline`, `candidates`."""

    TOPIC = "VideoWaiting"
    decision = "wait"


class VideoAbandoned(Ours):
    """A policy gave it up."""

    TOPIC = "VideoAbandoned"
    decision = "stop"


class VideoCancelled(Ours):
    """A person gave it up."""

    TOPIC = "VideoCancelled"
    decision = "cancel"


class VideoHeld(Ours):
    """No policy moves it until it is released. `data`: `why` (stop, ban, signs)."""

    TOPIC = "VideoHeld"
    decision = "hold"


class VideoReleased(Ours):
    TOPIC = "VideoReleased"


class HandoverStarted(Ours):
    """A command that hands the video to TokPortal may be sent from now on: the account may post it. `data`: `number`,
    `bundle_id`, `command_id`."""

    TOPIC = "HandoverStarted"


class HandoverRefused(Ours):
    """The command came to nothing, so the account does not have the video. `data`: `number`, `bundle_id`, `command_id`,
    `code`; where TokPortal itself refused it, for good, `details` of the refusal."""

    TOPIC = "HandoverRefused"


class SlotQuestioned(Ours):
    """TokPortal is asked whether the account can still post the video, which is wanted elsewhere. `data`: `number`,
    `bundle_id`, `why`, `times`, `command_id`; where a person ordered it, `by` whom, and `to` which bundle."""

    TOPIC = "SlotQuestioned"
    decision = "wait"


class SlotAnswered(Ours):
    """`data`: `number`, `bundle_id`, `slot` (free, busy or unknown)."""

    TOPIC = "SlotAnswered"


class SlotJoined(Ours):
    """TokPortal told its own name of the video. `data`: `number`, `bundle_id`, `vendor_id`, `position`, `at` (when it
    answered)."""

    TOPIC = "SlotJoined"


class ReviewOrdered(Ours):
    """A person closes the review of a post, or asks for corrections. `data`: `order` (finalize or corrections),
    `bundle_id`, `command_id`; `comment` and `fields` of corrections."""

    TOPIC = "ReviewOrdered"


class ReviewActed(Ours):
    """What TokPortal said to it. `data`: `order`, `bundle_id`, `command_id`, `outcome`, `code`, `status`."""

    TOPIC = "ReviewActed"


class FactsAdopted(Ours):
    """What was recorded for a stranger is about this video. `data`: `stranger`, `notes` (see `write_note`)."""

    TOPIC = "FactsAdopted"
    forgets = ("candidates", "notes")

    def apply(self, aggregate: Any) -> None:
        super().apply(aggregate)
        for written in self.data["notes"]:
            aggregate.hear(read_note(written), self.data["stranger"])


class FactsReleased(Ours):
    """What was recorded for this video turned out to be about another that the slot carried. `data`: `stranger`, `keys`
    of the facts."""

    TOPIC = "FactsReleased"
    forgets = ("candidates", "keys")

    def apply(self, aggregate: Any) -> None:
        super().apply(aggregate)
        aggregate.release({read_key(written) for written in self.data["keys"]})


class Merged(Ours):
    """This stranger is a video of ours; the newest such event counts. `data`: `video_id`."""

    TOPIC = "Merged"


class CampaignDrafted(Ours):
    """`data`: `spec`, and `plan` as it was shown: `[[video_id, bundle_id, target_day], …]`."""

    TOPIC = "CampaignDrafted"


class CampaignStarted(Ours):
    TOPIC = "CampaignStarted"


class CampaignPlaced(Ours):
    """The whole campaign was placed, or waits. `data`: `placed`, `waiting`, `moved`, `unmet`."""

    TOPIC = "CampaignPlaced"


class CampaignPaused(Ours):
    TOPIC = "CampaignPaused"


class CampaignResumed(Ours):
    TOPIC = "CampaignResumed"


class CampaignCompleted(Ours):
    TOPIC = "CampaignCompleted"


class CampaignCancelled(Ours):
    TOPIC = "CampaignCancelled"


class BreakerOpened(Ours):
    """So many accounts of the market were banned that nothing is done there until a person resumes it. `data`:
    `country`, `platform`, `accounts`."""

    TOPIC = "BreakerOpened"
    decision = "breaker"


class MarketPaused(Ours):
    """`data`: `country`, `platform`."""

    TOPIC = "MarketPaused"


class MarketResumed(Ours):
    """Ends a pause, a breaker, or both. `data`: `country`, `platform`, `breaker` (whether it was open)."""

    TOPIC = "MarketResumed"


class CandidatesJudged(Ours):
    """Verdicts that many decisions share. `data`: `country`, `platform`, `why` (verdict to bundle ids)."""

    TOPIC = "CandidatesJudged"


class PoliciesApplied(Ours):
    """These policies are in force from here on. `data`: `text`, `sha256`."""

    TOPIC = "PoliciesApplied"


class ModeChanged(Ours):
    """`data`: `mode` (observe, live or sandbox), `reads` (whether TokPortal can be read)."""

    TOPIC = "ModeChanged"


class CreditsRanOut(Ours):
    """TokPortal refused a command for want of credits: what costs credits waits. `data`: `command_id`, `code`,
    `details`."""

    TOPIC = "CreditsRanOut"


class CreditsAssumed(Ours):
    """There may be credits again: what waited for them is tried."""

    TOPIC = "CreditsAssumed"


class ServicePaused(Ours):
    TOPIC = "ServicePaused"


class ServiceResumed(Ours):
    TOPIC = "ServiceResumed"


class RebuildOrdered(Ours):
    """A person wants a read model made anew from the log. `data`: its `name`."""

    TOPIC = "RebuildOrdered"


class CommandSettled(Ours):
    """A person had a command tried again, discarded or approved. `data`: `order` (retry, discard or approve),
    `command_id`, `what` it does, `price`."""

    TOPIC = "CommandSettled"


class CommandRefused(Ours):
    """The rules forbade what a person ordered. `data`: `command`."""

    TOPIC = "CommandRefused"


OURS: dict[str, type[Ours]] = {kind.__name__: kind for kind in leaves(Ours)}
"""Every class of our own events by its name, which is also its topic in the log."""


def write_note(note: Note) -> list[Any]:
    """`note` as it is written into an event."""
    names = (note.bundle_id, note.account, note.country, note.platform)
    return [note.name, iso(note.occurred_at), note.event_id, note.dialect, *names, dict(note.detail)]


def read_note(written: list[Any]) -> Note:
    name, occurred_at, *rest = written
    return Note(name, datetime.fromisoformat(occurred_at), *rest)


def write_key(key: Key) -> list[Any]:
    """`key` as it is written into an event."""
    occurred_at, rank, event_id, dialect = key
    return [iso(occurred_at), rank, event_id, dialect]


def read_key(written: list[Any]) -> Key:
    occurred_at, rank, event_id, dialect = written
    return (datetime.fromisoformat(occurred_at), rank, event_id, dialect)
