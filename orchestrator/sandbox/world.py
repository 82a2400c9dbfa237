"""All state of a sandbox world, its time, its chance, and the file that it survives in."""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar, cast

from orchestrator.clock import Clock, RealClock, instant_of
from orchestrator.sandbox.hooks import Faults, NoFaults, Sender, Unsent
from orchestrator.sandbox.index import Index
from orchestrator.sandbox.model import (
    CLOSED_BUNDLES,
    KINDS,
    LIVE_SLOTS,
    Ban,
    Bundle,
    Coverage,
    CreditEntry,
    Credits,
    Delivery,
    Due,
    Effect,
    Endpoint,
    Listing,
    Meta,
    Row,
    SavedAccount,
    Slot,
    Violation,
    WarmingSession,
)
from orchestrator.sandbox.parameters import Parameters
from orchestrator.sandbox.store import Store

R = TypeVar("R", bound=Row)

Event = Callable[[str, dict[str, Any]], None]
Watcher = Callable[[str, Row], None]
Action = Callable[..., None]

ADOPTED_SLOTS: Final = 100
"""Pending slots that an adopted bundle always has."""

DRY_RUN_PREFIX: Final = "00000000-00"
"""How the ids of a dry run begin; no other id does."""

_SLOT_EVENTS: Final = frozenset({"configured", "published", "in_review", "pending_corrections", "finalized"})
_LISTING_EVENTS: Final = frozenset({"configured", "published", "in_review", "pending_corrections", "finalized"})
_BUNDLE_EVENTS: Final = frozenset({"published", "cancelled", "archived"})


class World:
    """Rows in memory with their indexes; one thread only.

    Reading: the `get` family and the `*_of` indexes hand out the rows themselves. Changing: set members of a row, then
    `put` it. A status is changed with `move_slot`, `move_listing` or `move_bundle`, which also emit the vendor's event.
    Nothing is in the file before `save`: the REST side calls it before each answer, whoever runs `run_due` after it.

    The life of the world attaches itself in three places: `listen` hears the vendor's events (to make webhooks of
    them), `watch` hears every change that a request brought about (to plan what managers do), `on` carries out the
    actions that were scheduled with `at`.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        path: Path | None = None,
        seed: int | None = None,
        parameters: Parameters | None = None,
        adopt: bool = False,
        kinds: Iterable[type[Row]] = (),
    ) -> None:
        """
        Args:
            clock: the world's time.
            path: the file that the world lives in; one that exists already is gone on with.
            seed: what all ids and all chance derive from; 0 for a new world unless given.
            parameters: how this TokPortal behaves.
            adopt: whether a bundle that nobody bought is taken in when it is named for the first time.
            kinds: further kinds of rows, beside those of `model`.

        Raises:
            ValueError: the file's world has another seed, or cannot be read.
        """
        self.clock = clock or RealClock()
        self.parameters = parameters or Parameters()
        self.adopt = adopt
        self.faults: Faults = NoFaults()
        self.sender: Sender = Unsent(self)
        self.sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
        """Waits for real seconds; what slow answers and time-outs wait with."""
        self.is_uploading: Callable[[Slot], bool] = lambda slot: False
        """Whether a manager is about to post the slot's video, so that it cannot be taken back."""
        self._all_kinds = (*KINDS, *kinds)
        self._rows: dict[str, dict[str, Row]] = {kind.kind: {} for kind in self._all_kinds}
        self._slots: dict[str, dict[int, Slot]] = defaultdict(dict)
        self._slots_by_ref: Index[Slot] = Index("external_ref")
        self._bundles_by_ref: Index[Bundle] = Index("external_ref")
        self._bundles_by_account: Index[Bundle] = Index("saved_account_id")
        self._bans: Index[Ban] = Index("saved_account_id")
        self._sessions: Index[WarmingSession] = Index("saved_account_id")
        self._bundle_sessions: Index[WarmingSession] = Index("bundle_id")
        self._deliveries: Index[Delivery] = Index("endpoint_id")
        self._indexes: dict[str, list[Index[Any]]] = {
            Slot.kind: [self._slots_by_ref],
            Bundle.kind: [self._bundles_by_ref, self._bundles_by_account],
            Ban.kind: [self._bans],
            WarmingSession.kind: [self._sessions, self._bundle_sessions],
            Delivery.kind: [self._deliveries],
        }
        self._due: list[tuple[int, str]] = []
        self._moment: int | None = None
        self._rehearsing = False
        self._listeners: list[Event] = []
        self._watchers: list[Watcher] = []
        self._actions: dict[str, Action] = {}
        self._dirty: dict[tuple[str, str], Row] = {}
        self._gone: set[tuple[str, str]] = set()
        self._meta: Meta
        self._store = Store(path, self._all_kinds)
        self._load(seed)

    # Time

    def now(self) -> int:
        """Microseconds since 1970: while a scheduled action is carried out, the moment it was scheduled for."""
        return self.clock.microseconds() if self._moment is None else self._moment

    def today(self) -> date:
        """The day in the zone that target days are counted in."""
        return instant_of(self.now()).astimezone(self.parameters.zone()).date()

    def at(self, moment: int, action: str, **args: Any) -> str:
        """Schedule `action` (see `on`) for `moment`; `args` must be plain JSON. Survives restarts. Returns an id."""
        due = Due(id=f"{self.count('due'):012d}", at=moment, action=action, args=args)
        self.put(due)
        heapq.heappush(self._due, (moment, due.id))
        return due.id

    def cancel(self, due_id: str) -> None:
        """What was scheduled under this id does not happen; nothing if it has happened already."""
        if due_id in self._rows[Due.kind]:
            self.remove(self._rows[Due.kind][due_id])

    def on(self, action: str, handler: Action) -> None:
        """Carry out scheduled actions of this name with `handler(**args)`."""
        self._actions[action] = handler

    def run_due(self, limit: int | None = None) -> int:
        """Carry out what is due, in order of time, each at its own moment; returns how many actions that were.

        An action may schedule another one that is due at once. Stops after `limit` actions.

        Raises:
            LookupError: an action is due that nobody carries out.
        """
        done = 0
        now = self.clock.microseconds()
        while self._due and self._due[0][0] <= now and (limit is None or done < limit):
            moment, id = heapq.heappop(self._due)
            due = self.find(Due, id)
            if due is None or due.at != moment:  # cancelled, or undone and its id given away again
                continue
            if due.action not in self._actions:
                heapq.heappush(self._due, (moment, id))
                raise LookupError(f"nobody carries out {due.action!r}, which was scheduled for {instant_of(moment)}")
            self.remove(due)
            self._moment = moment
            try:
                self._actions[due.action](**due.args)
            finally:
                self._moment = None
            done += 1
        return done

    def next_due(self) -> int | None:
        """The moment of the earliest action that is scheduled."""
        while self._due:
            moment, id = self._due[0]
            due = self.find(Due, id)
            if due is not None and due.at == moment:
                return moment
            heapq.heappop(self._due)
        return None

    # Chance and ids

    def random(self, *subject: object) -> Random:
        """Chance that depends on the seed and the subject only: ask once per subject and question.

        `world.random("ban", account.id, 3)` draws the same after a restart, and in whatever order others draw.
        """
        return Random("/".join(map(str, (self.seed, *subject))))

    def new_id(self, kind: str) -> str:
        """An id as UUIDs look, never one that a dry run would show; the next of its kind for this seed."""
        number = self.count(kind)
        if self._rehearsing:
            return f"{DRY_RUN_PREFIX}00-4000-a000-{number:012x}"
        digest = sha256(f"{self.seed}/{kind}/{number}".encode()).hexdigest()
        first = digest[0].replace("0", "1")
        return f"{first}{digest[1:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"

    @property
    def seed(self) -> int:
        return self._meta.seed

    def count(self, name: str) -> int:
        """Count one more of something; the numbers survive restarts, and are in `counters`."""
        self._meta.counters[name] = number = self._meta.counters.get(name, 0) + 1
        self.put(self._meta)
        return number

    @property
    def counters(self) -> Mapping[str, int]:
        """What was counted so far: ids by kind, `requests`, `rate_limited`, `cooled_down`."""
        return self._meta.counters

    # News

    def listen(self, listener: Event) -> None:
        """Call `listener(type, data)` for every event of the vendor's catalogue that takes place.

        `data` holds what the event is about: `bundle_id`, `account_id`, `saved_account_id`, `position`, `video_id`,
        `ban_id`, `session_id`, `previous_status` and such; the rows can be looked up.
        """
        self._listeners.append(listener)

    def emit(self, type: str, **data: Any) -> None:
        """An event of the vendor's catalogue takes place now. One of an adopted bundle is nobody's news."""
        if self._rehearsing or self._is_adopted(data.get("bundle_id"), data.get("saved_account_id")):
            return
        for listener in self._listeners:
            listener(type, data)

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher(change, row)` for every change that a request brought about, events or not.

        Changes with a `Bundle`: `bundle.created`, `bundle.published`, `bundle.unpublished`, `bundle.slots_added`,
        `bundle.warming_terms_set`; with a `Listing`: `account.configured`, `account.corrections`,
        `account.finalized`; with a `Slot`: `slot.configured`, `slot.published`, `slot.rescheduled`, `slot.reset`,
        `slot.unscheduled`, `slot.corrections`, `slot.finalized`, `slot.download_fixed`; with a `WarmingSession`:
        `warming.started`; with a `Coverage`: `coverage.renewed`, `coverage.reactivated`, `coverage.cancelled`; with an
        `Endpoint`: `endpoint.created`, `endpoint.changed`, `endpoint.deleted`. Nothing of adopted bundles.
        """
        self._watchers.append(watcher)

    def changed(self, change: str, row: Row) -> None:
        """A request brought this change about."""
        bundle_id = row.id if isinstance(row, Bundle) else getattr(row, "bundle_id", None)
        if self._rehearsing or self._is_adopted(bundle_id, getattr(row, "saved_account_id", None)):
            return
        for watcher in self._watchers:
            watcher(change, row)

    def _is_adopted(self, bundle_id: str | None, saved_account_id: str | None) -> bool:
        bundle, account = self.find(Bundle, bundle_id), self.find(SavedAccount, saved_account_id)
        return (bundle is not None and bundle.adopted) or (account is not None and account.adopted)

    # Rows

    def get(self, kind: type[R], id: str) -> R:
        """The row. Raises KeyError when there is none."""
        return cast(R, self._rows[kind.kind][id])

    def find(self, kind: type[R], id: str | None) -> R | None:
        """The row, or None."""
        return self.get(kind, id) if id is not None and id in self._rows[kind.kind] else None

    def all(self, kind: type[R]) -> Iterator[R]:
        """Every row of a kind, oldest first."""
        return iter(cast("dict[str, R]", self._rows[kind.kind]).values())

    def put(self, row: Row) -> None:
        """This row is new or was changed: keep it, index it, write it with the next `save`."""
        self._keep(row)
        key = (row.kind, row.id)
        self._dirty[key] = row
        self._gone.discard(key)

    def remove(self, row: Row) -> None:
        """This row is gone. Bundles and slots never go: TokPortal deletes neither."""
        key = (row.kind, row.id)
        self._rows[row.kind].pop(row.id, None)
        self._forget(row)
        self._dirty.pop(key, None)
        self._gone.add(key)

    def save(self) -> None:
        """Write everything that changed since the last time, all or nothing."""
        if self._dirty or self._gone:
            self._store.write(self._dirty.values(), self._gone)
            self._dirty.clear()
            self._gone.clear()

    def undo(self) -> None:
        """Forget everything since the last `save`: each row is again as it is in the file."""
        for kind, id in [*self._dirty, *self._gone]:
            before = self._store.read(kind, id)
            if before is not None:
                self._keep(before)
            elif (now := self._rows[kind].pop(id, None)) is not None:
                self._forget(now)
        self._dirty.clear()
        self._gone.clear()

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Whatever is done inside is undone at its end, and nobody hears of it; ids are those of a dry run."""
        self.save()
        self._rehearsing = True
        try:
            yield
        finally:
            self._rehearsing = False
            self.undo()

    def close(self) -> None:
        self.save()
        self._store.close()

    # Indexes

    def bundle(self, bundle_id: str) -> Bundle | None:
        """The bundle of this id, taken in now if the world adopts."""
        bundle = self.find(Bundle, bundle_id)
        if bundle is None and self.adopt and bundle_id and not bundle_id.startswith(DRY_RUN_PREFIX):
            now = self.now()
            bundle = Bundle(id=bundle_id, title=bundle_id, status="accepted", created_at=now, updated_at=now)
            bundle.adopted = True
            bundle.published_at = bundle.accepted_at = now
            bundle.saved_account_id = f"sav_{sha256(bundle_id.encode()).hexdigest()[:24]}"
            self.put(bundle)
            self._adopt_account(bundle.saved_account_id)
        return bundle

    def saved_account(self, saved_account_id: str) -> SavedAccount | None:
        """The saved account of this id, taken in now if the world adopts."""
        account = self.find(SavedAccount, saved_account_id)
        if account is None and self.adopt and not saved_account_id.startswith(DRY_RUN_PREFIX):
            account = self._adopt_account(saved_account_id)
        return account

    def _adopt_account(self, saved_account_id: str) -> SavedAccount:
        account = SavedAccount(
            id=saved_account_id,
            username=saved_account_id,
            platform="tiktok",
            country="USA",
            bundle_id="",
            adopted=True,
            created_at=self.now(),
        )
        self.put(account)
        return account

    def bundles(self) -> Iterator[Bundle]:
        """Every bundle that was bought, oldest first."""
        return (bundle for bundle in self.all(Bundle) if not bundle.adopted)

    def bundles_of(self, saved_account_id: str) -> list[Bundle]:
        """The bundles that work on this saved account."""
        return self._bundles_by_account.of(saved_account_id)

    def bundles_with_ref(self, external_ref: str) -> list[Bundle]:
        return self._bundles_by_ref.of(external_ref)

    def slots_of(self, bundle: Bundle) -> list[Slot]:
        """The bundle's slots by position; for an adopted one what was configured, and always 100 pending ones."""
        slots = self._slots[bundle.id]
        if not bundle.adopted:
            return [slots[position] for position in sorted(slots)]
        shown = dict(slots)
        free = sum(slot.status == "pending" for slot in slots.values())
        position = 0
        while free < ADOPTED_SLOTS:
            position += 1
            if position not in shown:
                shown[position] = self._unborn(bundle, position)
                free += 1
        return [shown[position] for position in sorted(shown)]

    def slot(self, bundle: Bundle, position: int) -> Slot | None:
        """The slot at a position, counted from 1; one that an adopted bundle has not used yet is not a row yet."""
        slot = self._slots[bundle.id].get(position)
        if slot is None and bundle.adopted and position >= 1:
            return self._unborn(bundle, position)
        return slot

    def _unborn(self, bundle: Bundle, position: int) -> Slot:
        digest = sha256(f"{self.seed}/adopted/{bundle.id}/{position}".encode()).hexdigest()
        return Slot(id=f"vid_{digest[:24]}", bundle_id=bundle.id, position=position)

    def add_slots(self, bundle: Bundle, quantity: int) -> list[Slot]:
        """Append pending slots."""
        first = max(self._slots[bundle.id], default=0) + 1
        slots = [
            Slot(id=self.new_id("video"), bundle_id=bundle.id, position=position)
            for position in range(first, first + quantity)
        ]
        for slot in slots:
            self.put(slot)
        bundle.videos_quantity += quantity
        self.put(bundle)
        return slots

    def live_slots(self, external_ref: str) -> list[Slot]:
        """The slots that carry the video with this reference, in bundles that are not cancelled or archived.

        A soak's question: never more than one, and never more than one of all posted ones.
        """
        return [
            slot
            for slot in self._slots_by_ref.of(external_ref)
            if slot.status in LIVE_SLOTS
            and not (slot.status == "pending_corrections" and slot.posted_at is None)  # given up: it failed
            and (slot.posted_at is not None or self.get(Bundle, slot.bundle_id).status not in CLOSED_BUNDLES)
        ]

    def listing_of(self, bundle: Bundle) -> Listing | None:
        return self.find(Listing, bundle.account_id)

    def saved_account_of(self, bundle: Bundle) -> SavedAccount | None:
        return self.find(SavedAccount, bundle.saved_account_id)

    def bans_of(self, saved_account_id: str) -> list[Ban]:
        return self._bans.of(saved_account_id)

    def sessions_of(self, saved_account_id: str) -> list[WarmingSession]:
        return self._sessions.of(saved_account_id)

    def warming_of(self, bundle: Bundle) -> WarmingSession | None:
        """The warming that was bought with the bundle, whether its terms are worded yet or not."""
        return next((session for session in self._bundle_sessions.of(bundle.id) if session.bought_with_bundle), None)

    def deliveries_of(self, endpoint: Endpoint) -> list[Delivery]:
        return self._deliveries.of(endpoint.id)

    # Status

    def move_slot(self, slot: Slot, status: str, **data: Any) -> None:
        """Put the slot into `status`, note the moment, emit `video.<status>` where the catalogue has it.

        Set `platform_url` and `posted_at` before the move to `in_review`.
        """
        previous, slot.status = slot.status, status
        if status in {"configured", "published", "accepted", "in_review", "finalized"}:
            setattr(slot, f"{status}_at", self.now())
        self.put(slot)
        if status in _SLOT_EVENTS:
            self.emit(
                f"video.{status}",
                bundle_id=slot.bundle_id,
                position=slot.position,
                video_id=slot.id,
                previous_status=previous,
                **data,
            )

    def move_listing(self, listing: Listing, status: str, **data: Any) -> None:
        """Put the account of a bundle into `status` and emit `account.<status>` where the catalogue has it."""
        previous, listing.status = listing.status, status
        if status in {"in_review", "finalized"}:
            setattr(listing, f"{status}_at", self.now())
        self.put(listing)
        self._touch(self.get(Bundle, listing.bundle_id))
        if status in _LISTING_EVENTS:
            self.emit(
                f"account.{status}",
                bundle_id=listing.bundle_id,
                account_id=listing.id,
                saved_account_id=listing.saved_account_id,
                previous_status=previous,
                **data,
            )

    def move_bundle(self, bundle: Bundle, status: str, **data: Any) -> None:
        """Put the bundle into `status` and emit `bundle.<status>` where the catalogue has it."""
        previous, bundle.status = bundle.status, status
        if status in {"published", "accepted", "cancelled"}:
            setattr(bundle, f"{status}_at", self.now())
        self._touch(bundle)
        if status in _BUNDLE_EVENTS:
            self.emit(f"bundle.{status}", bundle_id=bundle.id, previous_status=previous, **data)

    def _touch(self, bundle: Bundle) -> None:
        bundle.updated_at = self.now()
        self.put(bundle)

    def deliver_account(self, bundle: Bundle, username: str) -> SavedAccount:
        """The bundle's account exists from now on (also after a remake): a new saved account with its Coverage.

        The listing's id stays; whoever calls this moves the listing to `in_review`, or emits `account.remade`.
        """
        listing = self.get(Listing, bundle.account_id or "")
        now = self.now()
        account = SavedAccount(
            id=self.new_id("saved_account"),
            username=username,
            platform=bundle.platform,
            country=bundle.country,
            bundle_id=bundle.id,
            created_at=now,
        )
        self.put(account)
        self.put(
            Coverage(
                id=account.id,
                current_period_end=now + self.parameters.coverage_days * 86_400_000_000,
                auto_renew=self.parameters.coverage_auto_renews,
            )
        )
        listing.saved_account_id = account.id
        self.put(listing)
        bundle.saved_account_id = account.id
        self._touch(bundle)
        if (session := self.warming_of(bundle)) is not None and session.status == "pending":
            session.saved_account_id = account.id
            self.put(session)
        return account

    def start_session(self, session: WarmingSession, saved_account_id: str) -> None:
        """The manager of this account begins with the session's terms; emits `warming.session_started`."""
        session.saved_account_id = saved_account_id
        session.status = "active"
        session.started_at = self.now()
        self.put(session)
        self.emit(
            "warming.session_started",
            bundle_id=session.bundle_id,
            saved_account_id=saved_account_id,
            session_id=session.id,
        )

    # Money, effects, violations

    @property
    def credits(self) -> int:
        return self.get(Credits, "credits").balance

    def charge(
        self, amount: int, operation: str, *, bundle_id: str | None = None, saved_account_id: str | None = None
    ) -> None:
        """Take credits from the purse, or give them back where `amount` is negative. May go below 0: check first."""
        if not amount:
            return
        purse = self.get(Credits, "credits")
        purse.balance -= amount
        self.put(purse)
        self.put(
            CreditEntry(
                id=f"{self.count('credit_entry'):012d}",
                at=self.now(),
                amount=-amount,
                balance=purse.balance,
                operation=operation,
                bundle_id=bundle_id,
                saved_account_id=saved_account_id,
            )
        )

    def effect(self, operation: str, request: int, **what: Any) -> None:
        """A write took effect; see `Effect`."""
        id = f"{self.count('effect'):012d}"
        self.put(Effect(id=id, at=self.now(), operation=operation, request=request, **what))

    @property
    def effects(self) -> list[Effect]:
        """Every write that took effect, oldest first."""
        return list(self.all(Effect))

    def doubles(self) -> list[list[Effect]]:
        """Effects that several requests had under one idempotency key: each such list is a broken promise."""
        groups: dict[tuple[str, str], list[Effect]] = defaultdict(list)
        for effect in self.all(Effect):
            if effect.idempotency_key is not None:
                groups[effect.operation, effect.idempotency_key].append(effect)
        return [group for group in groups.values() if len({effect.request for effect in group}) > 1]

    def violate(self, code: str, message: str) -> None:
        """Someone did what an orchestrator must never do."""
        self.put(Violation(id=f"{self.count('violation'):012d}", at=self.now(), code=code, message=message))

    @property
    def violations(self) -> list[Violation]:
        return list(self.all(Violation))

    # Inside

    def _load(self, seed: int | None) -> None:
        for row in self._store.load():
            self._keep(row)
            if isinstance(row, Due):
                heapq.heappush(self._due, (row.at, row.id))
        meta = self.find(Meta, "world")
        if meta is None:
            self.put(Meta(id="world", seed=seed or 0))
            self.put(Credits(id="credits", balance=self.parameters.credits))
            self.save()
            return
        if seed is not None and seed != meta.seed:
            raise ValueError(f"the sandbox's file holds a world with seed {meta.seed}, not {seed}")

    def _keep(self, row: Row) -> None:
        self._rows[row.kind][row.id] = row
        if isinstance(row, Meta):
            self._meta = row
        if isinstance(row, Slot):
            self._slots[row.bundle_id][row.position] = row
        for index in self._indexes.get(row.kind, ()):
            index.keep(row)

    def _forget(self, row: Row) -> None:
        if isinstance(row, Slot):
            self._slots[row.bundle_id].pop(row.position, None)
        for index in self._indexes.get(row.kind, ()):
            index.drop(row)
