"""The engine's desk: where every bundle, every video of ours, every campaign and every market stands, at hand.

Aggregates say what one thing is; the desk says which things there are: the candidates of a market, the videos on an
account, those that wait. It follows from the log alone, is kept in a table so that a standby has it at once, and is
written in the transaction of the events that it follows from.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import desk as table
from orchestrator.domain.facts import Key
from orchestrator.policies.placement import Candidate, Ledger

Place = tuple[str, str]
"""Country and platform."""


class BundleEntry(msgspec.Struct, omit_defaults=True):
    bundle_id: str
    country: str | None = None
    platform: str | None = None
    state: str = "unknown"
    state_since: datetime | None = None
    warmed: bool = False
    warmed_at: datetime | None = None
    delivered: bool = False
    holds: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    account: str | None = None
    accounts: tuple[str, ...] = ()
    """Every account that it ever named."""
    era: int = 0
    ban: Key | None = None
    """The greatest ban in force."""
    slots_total: int | None = None
    slots_free: int | None = None
    """As TokPortal counted them at `slots_at`; None where it never did."""
    slots_at: datetime | None = None
    slots_code: str | None = None
    """Why it takes no video, where that is not for want of slots."""
    full_days: tuple[str, ...] = ()
    """Days for which TokPortal takes no further video."""

    @property
    def place(self) -> Place | None:
        return (self.country, self.platform) if self.country and self.platform else None


class LegEntry(msgspec.Struct, array_like=True):
    bundle_id: str
    day: str
    booked: bool
    """Whether it takes room on its day."""
    open: bool
    account: str
    """Whose it was when it was placed: a remake gives the bundle another account."""
    taken_at: datetime | None = None
    """When it got its slot, if it has one."""


class VideoEntry(msgspec.Struct, omit_defaults=True):
    video_id: str
    campaign_id: str
    target: int
    ref: str
    country: str
    platform: str
    group: str
    state: str
    bundle_id: str | None = None
    """Of the live attempt."""
    with_vendor: bool = False
    held: bool = False
    cleared: bool = False
    """Released although the platform rejected its content."""
    legs: tuple[LegEntry, ...] = ()
    elsewhere: tuple[str, ...] = ()
    """Bundles that reported it and never got it from us."""
    refused: str | None = None
    """The code with which TokPortal refused it; it is to be handed over again."""
    slotless: bool = False
    """Whether its bundle has no slot for it."""

    @property
    def place(self) -> Place:
        return self.country, self.platform

    @property
    def is_open(self) -> bool:
        return self.bundle_id is not None or self.state == "waiting"


class CampaignEntry(msgspec.Struct, omit_defaults=True):
    campaign_id: str
    name: str
    digest: str
    group: str
    status: str
    placing: bool = False
    """Whether videos of it are still being placed for the first time."""
    placed: int = 0
    """How many of them were."""


class MarketEntry(msgspec.Struct, omit_defaults=True):
    country: str
    platform: str
    paused: str | None = None
    breaker: str | None = None
    bans: tuple[tuple[datetime, str], ...] = ()
    """When which account was banned, of late."""
    placing: bool = False
    """Whether those that wait here are about to be tried again."""
    judged: tuple[str, int] | None = None
    """The digest of the verdicts recorded last, and the version of the event that did."""

    @property
    def closed_by(self) -> str | None:
        """Why nothing is placed, rerouted or handed over here."""
        return self.breaker or self.paused


class ServiceEntry(msgspec.Struct, omit_defaults=True):
    mode: str | None = None
    paused: str | None = None
    policies: str | None = None
    """The text of the policies in force."""
    spent_on: str | None = None
    """The last day, UTC, on which something was let go that costs credits."""
    spent: tuple[tuple[str, int], ...] = ()
    """What was let go on that day, and its price."""
    reads: bool = False
    """Whether TokPortal can be read."""
    no_credits: str | None = None
    """Why what costs credits waits: TokPortal said that there are none."""
    lacked_credits: bool = False
    """Whether people were told so, and nothing was paid since."""


class ContentEntry(msgspec.Struct, omit_defaults=True):
    """Content that the platform rejected; `reason` says what it was."""

    campaign_id: str
    ref: str
    reason: str


Line = tuple[tuple[datetime, str], ...]
"""Which videos a name stood for, each from its moment on, in their order."""


class JoinEntry(msgspec.Struct, omit_defaults=True):
    """What a name of TokPortal's stood for: a video id of its, or a slot."""

    name: str
    ours: Line = ()
    """By what TokPortal answered when it was configured."""
    told: Line = ()
    """By facts that gave our own id beside it: of each video the first moment. It may not be wanted yet."""
    names: tuple[str, ...] = ()
    """Of a slot: the vendor's video ids under which it was spoken of."""


class HeardEntry(msgspec.Struct, omit_defaults=True):
    """When a webhook came last from a country, or (`*`) at all."""

    name: str
    heard_at: datetime | None = None
    silent_since: datetime | None = None
    """People were told that nothing is heard, and since when."""
    looks_at: datetime | None = None
    """When it is next looked whether anything has gone silent; kept once, for all of them."""


class ApprovalEntry(msgspec.Struct, omit_defaults=True):
    command_id: str
    price: int | None = None
    """What it may cost; None: whatever it costs."""


KINDS: dict[str, Any] = {
    "bundle": BundleEntry,
    "video": VideoEntry,
    "campaign": CampaignEntry,
    "market": MarketEntry,
    "service": ServiceEntry,
    "content": ContentEntry,
    "join": JoinEntry,
    "slot": JoinEntry,
    "approval": ApprovalEntry,
    "heard": HeardEntry,
}
SERVICE = "service"

_encode = msgspec.json.Encoder().encode
_decoders = {kind: msgspec.json.Decoder(struct).decode for kind, struct in KINDS.items()}


def read_service(body: bytes | None) -> ServiceEntry:
    """How the service stands, from its row; as new where there is none."""
    found: ServiceEntry = _decoders[SERVICE](body) if body is not None else ServiceEntry()
    return found


def read_campaign(body: bytes | None) -> CampaignEntry | None:
    found: CampaignEntry | None = _decoders["campaign"](body) if body is not None else None
    return found


def market_name(country: str, platform: str) -> str:
    return f"{country}:{platform}"


def content_name(campaign_id: str, ref: str) -> str:
    return f"{campaign_id}:{ref}"


def slot_name(bundle_id: str, position: int) -> str:
    return f"{bundle_id}#{position}"


class Desk:
    def __init__(self, database: Database) -> None:
        self._database = database
        self.clear()

    def clear(self) -> None:
        """Forgets everything; `load` brings it back from the table."""
        self.loaded = False
        self._dirty: dict[tuple[str, str], None] = {}
        self._entries: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self.ledger = Ledger()
        self._bundles_of_account: defaultdict[str, set[str]] = defaultdict(set)
        self._bundles_at: defaultdict[Place, set[str]] = defaultdict(set)
        self._live_on: defaultdict[str, set[str]] = defaultdict(set)
        self._carried_by: defaultdict[str, set[str]] = defaultdict(set)
        self._waiting_at: defaultdict[Place, set[str]] = defaultdict(set)
        self._of_content: defaultdict[str, set[str]] = defaultdict(set)
        self._open_of_campaign: defaultdict[str, set[str]] = defaultdict(set)
        self._slots_of: defaultdict[str, set[str]] = defaultdict(set)
        self._told_of: defaultdict[str, set[str]] = defaultdict(set)

    # What is at hand.

    def bundle(self, bundle_id: str) -> BundleEntry | None:
        return self._entries["bundle"].get(bundle_id)

    def state_of(self, bundle_id: str) -> str:
        entry = self.bundle(bundle_id)
        return entry.state if entry is not None else "unknown"

    def bundles(self) -> list[str]:
        return sorted(self._entries["bundle"])

    def bundles_at(self, place: Place) -> list[BundleEntry]:
        return [self._entries["bundle"][name] for name in sorted(self._bundles_at[place])]

    def kin(self, bundle_id: str) -> set[str]:
        """The other bundles that ever shared an account with this one."""
        entry = self.bundle(bundle_id)
        accounts = entry.accounts if entry is not None else ()
        return {name for account in accounts for name in self._bundles_of_account[account]} - {bundle_id}

    def bundles_of(self, account: str) -> list[str]:
        """Every bundle that ever named the account."""
        return sorted(self._bundles_of_account[account])

    def account_of(self, bundle_id: str) -> str:
        """What stands for the account in caps and content: its id at TokPortal, or the bundle's where none is known."""
        entry = self.bundle(bundle_id)
        return (entry.account if entry is not None else None) or bundle_id

    def video(self, video_id: str) -> VideoEntry | None:
        return self._entries["video"].get(video_id)

    def carried_by(self, bundle_id: str) -> list[str]:
        """Every video that was ever placed on the bundle, or reported by it."""
        return sorted(self._carried_by[bundle_id])

    def live_on(self, bundle_id: str) -> list[str]:
        return sorted(self._live_on[bundle_id])

    def live_at(self, country: str | None, platform: str | None) -> list[str]:
        """The videos on their way, in a market or everywhere."""
        return sorted(
            video_id
            for bundle_id, live in self._live_on.items()
            if live and (country is None or self._is_at(bundle_id, country, platform))
            for video_id in live
        )

    def _is_at(self, bundle_id: str, country: str, platform: str | None) -> bool:
        entry = self.bundle(bundle_id)
        return entry is not None and entry.place == (country, platform)

    def waiting_at(self, place: Place) -> list[str]:
        """The videos that want an account: they have none, or one without a slot for them."""
        return sorted(self._waiting_at[place])

    def places_with_waiting(self) -> list[Place]:
        return sorted(place for place, waiting in self._waiting_at.items() if waiting)

    def of_content(self, campaign_id: str, ref: str) -> list[str]:
        return sorted(self._of_content[content_name(campaign_id, ref)])

    def open_of_campaign(self, campaign_id: str) -> list[str]:
        return sorted(self._open_of_campaign[campaign_id])

    def campaign(self, campaign_id: str) -> CampaignEntry | None:
        return self._entries["campaign"].get(campaign_id)

    def market(self, country: str, platform: str) -> MarketEntry:
        name = market_name(country, platform)
        found: MarketEntry | None = self._entries["market"].get(name)
        return found or MarketEntry(country, platform)

    def service(self) -> ServiceEntry:
        found: ServiceEntry | None = self._entries["service"].get(SERVICE)
        return found or ServiceEntry()

    def rejected(self, campaign_id: str, ref: str) -> str | None:
        """Why the platform rejected this content, if it did."""
        entry: ContentEntry | None = self._entries["content"].get(content_name(campaign_id, ref))
        return entry.reason if entry is not None else None

    def join(self, vendor_id: str) -> JoinEntry:
        """What a video id of TokPortal's stood for."""
        found: JoinEntry | None = self._entries["join"].get(vendor_id)
        return found or JoinEntry(vendor_id)

    def is_unheard(self, vendor_id: str) -> bool:
        """Whether nothing tells whom this video id of TokPortal's may stand for."""
        return vendor_id not in self._entries["join"] and not self._slots_of.get(vendor_id)

    def slot(self, name: str) -> JoinEntry:
        """What a slot stood for."""
        found: JoinEntry | None = self._entries["slot"].get(name)
        return found or JoinEntry(name)

    def slots_of(self, vendor_id: str) -> list[JoinEntry]:
        """The slots that came with a video id of TokPortal's: one, as long as its names mean what they should."""
        return [self.slot(name) for name in sorted(self._slots_of.get(vendor_id, ()))]

    def told_of(self, video_id: str) -> list[str]:
        """The vendor's video ids that came with this id of ours."""
        return sorted(self._told_of.get(video_id, ()))

    def heard(self, name: str) -> HeardEntry:
        """When a webhook came last from a country, or (`*`) at all."""
        found: HeardEntry | None = self._entries["heard"].get(name)
        return found or HeardEntry(name)

    def is_approved(self, command_id: str, price: int) -> bool:
        """Whether an admin approved that the command costs so much."""
        entry: ApprovalEntry | None = self._entries["approval"].get(command_id)
        return entry is not None and (entry.price is None or price <= entry.price)

    def candidate(self, entry: BundleEntry, group: str) -> Candidate:
        return Candidate(
            bundle_id=entry.bundle_id,
            account=self.account_of(entry.bundle_id),
            country=entry.country,
            platform=entry.platform,
            group=group,
            state=entry.state,
            warmed=entry.warmed,
            warmed_at=entry.warmed_at,
            delivered=entry.delivered,
            holds=entry.holds,
            slots_free=self.ledger.slots_left(entry.bundle_id),
            full_days=frozenset(map(date.fromisoformat, entry.full_days)),
        )

    # What changes.

    def put(self, kind: str, name: str, entry: Any) -> None:
        if self._entries[kind].get(name) == entry:
            return
        self._replace(kind, name, entry)
        self._dirty[kind, name] = None

    def _replace(self, kind: str, name: str, entry: Any | None) -> None:
        old = self._entries[kind].pop(name, None)
        if kind == "video":
            if old is not None:
                self._unlist(old)
            if entry is not None:
                self._list(entry)
        elif kind == "bundle":
            self._replace_bundle(name, old, entry)
            return
        elif kind == "slot":
            _relink(self._slots_of, name, old.names if old else (), entry.names if entry else ())
        elif kind == "join":
            before, after = ((video_id for _, video_id in one.told) if one else () for one in (old, entry))
            _relink(self._told_of, name, before, after)
        if entry is not None:
            self._entries[kind][name] = entry

    def _replace_bundle(self, name: str, old: BundleEntry | None, entry: BundleEntry | None) -> None:
        moves = (old.account if old else None) != (entry.account if entry else None)
        carried = [self._entries["video"][v] for v in sorted(self._carried_by[name])] if moves else []
        if old is not None:
            self._entries["bundle"][name] = old
        for video in carried:
            self._unlist(video)
        self._entries["bundle"].pop(name, None)
        if old is not None:
            for account in old.accounts:
                self._bundles_of_account[account].discard(name)
            if old.place is not None:
                self._bundles_at[old.place].discard(name)
        if entry is None or entry.slots_free is None or entry.slots_at is None:
            self.ledger.count_slots(name, None)
        else:
            self.ledger.count_slots(name, (entry.slots_free, entry.slots_at))
        if entry is not None:
            self._entries["bundle"][name] = entry
            for account in entry.accounts:
                self._bundles_of_account[account].add(name)
            if entry.place is not None:
                self._bundles_at[entry.place].add(name)
        for video in carried:
            self._list(video)

    def _list(self, entry: VideoEntry) -> None:
        for account in self._carriers(entry):
            self.ledger.mark_content(account, entry.campaign_id, entry.ref)
        for bundle_id in self._bundles_with(entry):
            self._carried_by[bundle_id].add(entry.video_id)
        for leg in entry.legs:
            account = self.account_of(leg.bundle_id)
            if leg.booked:
                self.ledger.book(
                    account, date.fromisoformat(leg.day), entry.campaign_id, entry.target, is_open=leg.open
                )
        if entry.bundle_id is not None:
            self._live_on[entry.bundle_id].add(entry.video_id)
            self.ledger.take_slot(entry.bundle_id, entry.legs[-1].taken_at)
        if entry.state == "waiting" or entry.slotless:
            self._waiting_at[entry.place].add(entry.video_id)
        self._of_content[content_name(entry.campaign_id, entry.ref)].add(entry.video_id)
        if entry.is_open:
            self._open_of_campaign[entry.campaign_id].add(entry.video_id)

    def _carriers(self, entry: VideoEntry) -> set[str]:
        """The accounts that have, or had, its content."""
        now = {self.account_of(bundle_id) for bundle_id in self._bundles_with(entry)}
        return now | {leg.account for leg in entry.legs}

    @staticmethod
    def _bundles_with(entry: VideoEntry) -> set[str]:
        return {*(leg.bundle_id for leg in entry.legs), *entry.elsewhere}

    def _unlist(self, entry: VideoEntry) -> None:
        for account in self._carriers(entry):
            self.ledger.unmark_content(account, entry.campaign_id, entry.ref)
        for bundle_id in self._bundles_with(entry):
            self._carried_by[bundle_id].discard(entry.video_id)
        for leg in entry.legs:
            account = self.account_of(leg.bundle_id)
            if leg.booked:
                self.ledger.unbook(
                    account, date.fromisoformat(leg.day), entry.campaign_id, entry.target, is_open=leg.open
                )
        if entry.bundle_id is not None:
            self._live_on[entry.bundle_id].discard(entry.video_id)
            self.ledger.give_slot(entry.bundle_id, entry.legs[-1].taken_at)
        self._waiting_at[entry.place].discard(entry.video_id)
        self._of_content[content_name(entry.campaign_id, entry.ref)].discard(entry.video_id)
        self._open_of_campaign[entry.campaign_id].discard(entry.video_id)

    # The table.

    def load(self, connection: sa.Connection) -> None:
        """Brings everything back from the table."""
        self.clear()
        rows = connection.execute(sa.select(table.c.kind, table.c.name, table.c.body)).all()
        # Videos last: their bookings need to know the accounts of bundles.
        for kind, name, body in sorted(rows, key=lambda row: row.kind == "video"):
            self._replace(kind, name, _decoders[kind](body))
        self.loaded = True

    def write(self, connection: sa.Connection) -> None:
        """Writes what has changed, in the transaction of `connection`."""
        rows = [{"kind": kind, "name": name, "body": _encode(self._entries[kind][name])} for kind, name in self._dirty]
        if rows:
            self._upsert(connection, rows)

    def written(self) -> None:
        """To be called when what was written is committed."""
        self._dirty.clear()

    def rollback(self, connection: sa.Connection) -> None:
        """Takes back every change that was not committed."""
        dirty, self._dirty = list(self._dirty), {}
        for kind, name in sorted(dirty, key=lambda key: key[0] == "video"):
            query = sa.select(table.c.body).where(table.c.kind == kind, table.c.name == name)
            body = connection.execute(query).scalar_one_or_none()
            self._replace(kind, name, None if body is None else _decoders[kind](body))

    def _upsert(self, connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
        cursor: Any = connection.connection.cursor()
        then = "ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body"
        try:
            if self._database.is_sqlite:
                cursor.executemany(
                    f"INSERT INTO desk (kind, name, body) VALUES (?, ?, ?) {then}",
                    [(row["kind"], row["name"], row["body"]) for row in rows],
                )
            else:
                cursor.execute(
                    "INSERT INTO desk (kind, name, body) "
                    f"SELECT * FROM unnest(%b::text[], %b::text[], %b::bytea[]) {then}",
                    [[row[name] for row in rows] for name in ("kind", "name", "body")],
                )
        finally:
            cursor.close()


def slice_after(names: Sequence[str], after: str, size: int) -> tuple[list[str], str | None]:
    """At most `size` of the sorted `names` that come after `after`; and after which to go on, if there are more."""
    first = bisect_right(names, after)
    part = list(names[first : first + size])
    return part, part[-1] if first + size < len(names) else None


def _relink(index: defaultdict[str, set[str]], name: str, before: Iterable[str], after: Iterable[str]) -> None:
    for key in before:
        index[key].discard(name)
    for key in after:
        index[key].add(name)
