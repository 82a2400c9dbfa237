"""One message's turn: what it may look at, and what follows from it.

Everything that follows is only gathered here. The engine commits it all in one transaction, or nothing of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.desk import Desk
from orchestrator.domain.bundle import Account, Bundle, BundleView, bundle_view
from orchestrator.domain.campaign import Campaign
from orchestrator.domain.decisions import POLICY, Ours, write_key
from orchestrator.domain.facts import Key, Note
from orchestrator.domain.house import Market, Service
from orchestrator.domain.video import Video, is_ours
from orchestrator.engine.aggregates import LoadedAggregates
from orchestrator.engine.causes import cause_of, subject_of
from orchestrator.journal.inbox import Taken
from orchestrator.journal.journal import TIMER, WORK, Message, ours
from orchestrator.outbox import ORDINARY, Command, Move, Outbox
from orchestrator.policies.placement import Market as Market_
from orchestrator.policies.schema import Policies

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TOLD = 50_000
NAMESPACE = uuid.UUID("6f1c2a52-9f7e-5c0e-9c1c-3c1d9a6f4d10")


def instant(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


def microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def command_id(*parts: object) -> str:
    """The id of the command that these parts name. Derived: deciding the same thing again names the same command."""
    return "cmd_" + uuid.uuid5(NAMESPACE, "\0".join(map(str, parts))).hex


@dataclass(slots=True)
class Follow:
    """What follows from the messages of a batch, besides events."""

    commands: dict[str, Command] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    prices: dict[str, int] = field(default_factory=dict)
    """What commands cost by TokPortal's word."""
    timers: dict[str, tuple[int, dict[str, Any]] | None] = field(default_factory=dict)
    """Timers that are set (microseconds, body), or cancelled."""
    works: list[Message] = field(default_factory=list)


class Turn:
    """`cause`: the message that big work is done for; None: this one."""

    def __init__(
        self,
        *,
        message: Taken,
        cause: str | None,
        now: datetime,
        connection: sa.Connection,
        aggregates: LoadedAggregates,
        desk: Desk,
        outbox: Outbox,
        policies: Policies | None,
        follow: Follow,
        set_policies: Callable[[Policies], None],
        told: set[tuple[str, str, int]],
    ) -> None:
        self.message = message
        self.now = now
        self.desk = desk
        self.policies = policies
        self._connection = connection
        self._aggregates = aggregates
        self._outbox = outbox
        self._follow = follow
        self._set_policies = set_policies
        self._told = told
        self._cause = cause or message.message_id
        self._works: set[bytes] = set()
        self._alerts = 0
        self.markets: dict[tuple[str, str], Market_] = {}
        """The markets as this turn judges them; to be cleared whenever a bundle changes."""

    @property
    def rules(self) -> Policies:
        """The policies in force, for what is only done when there are some."""
        if self.policies is None:
            raise RuntimeError("no policies are in force")
        return self.policies

    @property
    def is_timer(self) -> bool:
        """Whether time alone brought this turn about."""
        return self.message.kind == TIMER

    # Whom it is about.

    @property
    def person(self) -> dict[str, str]:
        """Who gave the message, for an operator's command."""
        actor: dict[str, str] = msgspec.json.decode(self.message.actor)
        return actor

    def load(self, keys: Iterable[str]) -> None:
        """Reads aggregates that will be needed, many in one query."""
        self._aggregates.load(self._connection, keys)

    def _have(self, key: str) -> None:
        if not self._aggregates.is_at_hand(key):
            self.load([key])

    def bundle(self, bundle_id: str) -> Bundle:
        self._have(Bundle.key(bundle_id))
        return self._aggregates.bundle(bundle_id, self._cause, self.now)

    def account(self, saved_account_id: str) -> Account:
        self._have(Account.key(saved_account_id))
        return self._aggregates.account(saved_account_id, self._cause, self.now)

    def video(self, video_id: str) -> Video:
        self._have(Video.key(video_id))
        return self._aggregates.video(video_id, self._cause, self.now)

    def known_video(self, video_id: str) -> Video | None:
        self._have(Video.key(video_id))
        found: Video | None = self._aggregates.known(Video.key(video_id))
        return found

    def campaign(self, campaign_id: str) -> Campaign:
        self._have(Campaign.key(campaign_id))
        return self._aggregates.campaign(campaign_id, self._cause, self.now)

    def market(self, country: str, platform: str) -> Market:
        self._have(Market.key(country, platform))
        return self._aggregates.market(country, platform, self._cause, self.now)

    def service(self) -> Service:
        self._have(Service.KEY)
        return self._aggregates.service(self._cause, self.now)

    def is_ours(self, video_id: str) -> bool:
        if self.desk.video(video_id) is not None:
            return True
        found = self._aggregates.known(Video.key(video_id))
        return found is not None and is_ours(found.steps)

    def view(self, bundle_id: str, also: Sequence[Note] = ()) -> BundleView:
        """The bundle by all facts known, those of its accounts and of their other bundles included; as it would be if
        it knew the facts `also` besides. Raises `LookupError` where nothing is known of it."""
        family = [bundle_id, *sorted(self.desk.kin(bundle_id))]
        self.load(Bundle.key(name) for name in family)
        members = {name: self._aggregates.known(Bundle.key(name)) for name in family}
        accounts = {
            note.account for member in members.values() if member is not None for note in member.notes if note.account
        }
        self.load(Account.key(name) for name in accounts)
        reported = {name: self._aggregates.known(Account.key(name)) for name in accounts}
        own = members.pop(bundle_id)
        if own is None and not also:
            raise LookupError(f"there is no bundle {bundle_id!r}")
        return bundle_view(
            [*(own.notes if own is not None else ()), *also],
            {name: found.notes if found is not None else [] for name, found in reported.items()},
            [member.notes for member in members.values() if member is not None],
            own.steps if own is not None else (),
        )

    # What follows.

    def record(
        self,
        aggregate: Any,
        kind: type[Ours],
        *,
        reason: str | None = None,
        answers: Key | None = None,
        actor: dict[str, str] | None = None,
        **data: Any,
    ) -> None:
        """Records one of our own events; without `actor` the policies wanted it."""
        aggregate.record(
            kind,
            timestamp=self.now,
            message_id=self._cause,
            reason=reason,
            actor=POLICY if actor is None else actor,
            policy=self.policies.sha256 if self.policies is not None else None,
            answers=write_key(answers) if answers is not None else None,
            data=data,
        )

    def command(
        self,
        kind: str,
        command_id: str,
        body: Mapping[str, Any],
        *,
        held: str | None,
        bundle_id: str | None = None,
        video_id: str | None = None,
        campaign_id: str | None = None,
        country: str | None = None,
        platform: str | None = None,
        price: int | None = None,
        not_before: datetime | None = None,
        urgency: int = ORDINARY,
    ) -> None:
        """Puts a command into the outbox; with the reason `held` it waits there."""
        self._follow.commands[command_id] = Command(
            command_id=command_id,
            kind=kind,
            bundle_id=bundle_id,
            video_id=video_id,
            campaign_id=campaign_id,
            country=country,
            platform=platform,
            body=dict(body),
            idempotency_key=command_id,
            price=price,
            status="pending" if held is None else "held",
            reason=held,
            not_before=microseconds(self.now if not_before is None else not_before),
            created_at=microseconds(self.now),
            message_id=self._cause,
            urgency=urgency,
        )

    def reprice(self, command_id: str, price: int) -> None:
        """TokPortal named what the command costs."""
        if command_id in self._follow.commands:
            command = self._follow.commands[command_id]
            self._follow.commands[command_id] = msgspec.structs.replace(command, price=price)
        self._follow.prices[command_id] = price

    def move_command(self, command_id: str, status: str, reason: str | None, *, of: Iterable[str]) -> None:
        """Changes the status of a command that is in one of the statuses `of`."""
        self._follow.moves.append(Move(command_id, status, reason, tuple(of)))

    def commands(self, command_ids: Iterable[str]) -> dict[str, Command]:
        """Commands as they are now, what earlier messages of the batch did to them included."""
        wanted = list(command_ids)
        found = self._outbox.find(self._connection, [name for name in wanted if name not in self._follow.commands])
        found |= {name: self._follow.commands[name] for name in wanted if name in self._follow.commands}
        for name, price in self._follow.prices.items():
            if name in found:
                found[name] = msgspec.structs.replace(found[name], price=price)
        for name, status, reason, of in self._follow.moves:
            if name in found and found[name].status in of:
                found[name] = msgspec.structs.replace(found[name], status=status, reason=reason)
        return found

    def held_commands(self, after: int, limit: int) -> list[tuple[int, Command]]:
        """Commands that wait, in their order, each with its place in it."""
        return self._outbox.held(self._connection, after, limit)

    def timer(self, name: str, at: datetime | None, **body: Any) -> None:
        """Sets the timer `name`, or cancels it."""
        self._follow.timers[name] = None if at is None else (microseconds(at), body)

    def work(self, work: str, **body: Any) -> None:
        """Leaves (the rest of) something big to a message of its own, so that others run between."""
        text = msgspec.json.encode({"work": work, **body, "cause": self._cause})
        if text in self._works:
            return
        self._works.add(text)
        once = f"{self.message.message_id}\0{len(self._works)}"
        actor, now = self.message.actor, microseconds(self.now)
        self._follow.works.append(ours(WORK, text, endpoint="engine", actor=actor, received_at=now, once=once))

    def alert(
        self,
        kind: str,
        text: str,
        *,
        once: str | None = None,
        cause: Iterable[object] | None = None,
        subject: str | None = None,
        **about: Any,
    ) -> None:
        """Tells people. `once` names what is told only once, however often it is noticed.

        Alerts of one cause are told together; what makes them one is `orchestrator.engine.causes`, and `cause`
        besides. `subject` is who may recover: see `resolve`.
        """
        if self.policies is None:
            return
        about = self._placed(about)
        body = {
            "cause": cause_of(kind, about, cause or ()),
            "subject": subject_of(about) if subject is None else subject,
            "about": {name: value for name, value in about.items() if value is not None},
        }
        self._tell("alert", kind, text, once, body, about)

    def resolve(self, kind: str, subject: str, text: str, *, once: str | None = None, **about: Any) -> None:
        """Tells people that alerts of this kind about `subject` are over. A cause ends with the last of its subjects;
        what nobody was told of needs no word."""
        if self.policies is None:
            return
        self._tell("resolve", kind, text, once, {"resolves": True, "subject": subject}, self._placed(about))

    def _tell(
        self, what: str, kind: str, text: str, once: str | None, more: dict[str, Any], about: Mapping[str, Any]
    ) -> None:
        self._alerts += 1
        parts = [once] if once is not None else [self.message.message_id, self._alerts, text]
        channels = list(self.rules.channels_for(kind))
        body = {"alert": kind, "text": text, "channels": channels, **more}
        self.command("alert", command_id(what, kind, *parts), body, held=None, **about)

    def _placed(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """`about`, with the campaign and the market of its video or bundle where it does not name them."""
        found = dict(about)
        video = self.desk.video(str(found["video_id"])) if found.get("video_id") else None
        bundle = self.desk.bundle(str(found["bundle_id"])) if found.get("bundle_id") else None
        for entry, names in ((video, ("campaign_id", "country", "platform")), (bundle, ("country", "platform"))):
            for name in names if entry is not None else ():
                if found.get(name) is None:
                    found[name] = getattr(entry, name)
        return found

    def alert_hourly(self, kind: str, subject: str, text: str, **about: Any) -> None:
        """Tells people once in an hour of one subject."""
        if self.policies is None or self.was_told_hourly(kind, subject):
            return
        if len(self._told) >= TOLD:
            self._told.clear()
        self._told.add((kind, subject, self._hour))
        hour = EPOCH + self._hour * HOUR
        self.alert(kind, text, once=f"{subject}:{hour.isoformat()}", **about)

    def was_told_hourly(self, kind: str, subject: str) -> bool:
        """Whether people were told in this hour, as far as is remembered."""
        return (kind, subject, self._hour) in self._told

    @property
    def _hour(self) -> int:
        return (self.now - EPOCH) // HOUR

    def apply_policies(self, policies: Policies) -> None:
        """Has these policies in force from here on."""
        self.policies = policies
        self._set_policies(policies)
