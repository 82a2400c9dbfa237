"""Single bundles that somebody wants looked at: their own row, how their account was warmed, their slots."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from orchestrator.domain.times import iso
from orchestrator.reconcile.office import Office
from orchestrator.reconcile.reading import ban_facts, bundle_facts, is_delivered, name_of, slot_facts
from orchestrator.reconcile.store import AT_ONCE, NEVER, Body
from orchestrator.reconcile.sweep import Sweep
from orchestrator.tokportal.client import Refused
from orchestrator.tokportal.hands.slots import Slot, Slots
from orchestrator.tokportal.reads import Kind, Row

PREFIX: Final = "look:"
ROW: Final = "row"
WARMING: Final = "warming"
SLOTS: Final = "slots"
URGENCY: Final[tuple[Kind, ...]] = ("recovery", "ordinary", "sweep")


class Looks(Sweep):
    """A queue: each bundle that is to be looked at is a row of the store, and keeps what was read so far."""

    name = "looks"
    every = timedelta(0)
    is_routine = False
    needs_discovery = False

    def __init__(self, office: Office) -> None:
        super().__init__(office)
        self._current: str | None = None
        self._last = AT_ONCE

    def want(
        self,
        bundle_id: str,
        parts: Iterable[str],
        kind: Kind,
        now: datetime,
        *,
        row: Row | None = None,
        asked_at: datetime | None = None,
        ban: Row | None = None,
        discovery: bool = False,
    ) -> None:
        """Has the bundle looked at. `row`: its own row, as a list showed it at `asked_at`; `ban`: the row of a ban that
        is held against it."""
        store, name = self.office.store, PREFIX + bundle_id
        if not store.has(name):
            self._last = max(now, self._last + timedelta(microseconds=1))  # They keep the order in which they came.
        due_at = store.due_at(name) if store.has(name) else self._last
        body = store.body(name)
        body["parts"] = sorted({*body.get("parts", ()), *parts})
        body["kind"] = min((body.get("kind", kind), kind), key=URGENCY.index)
        if row is not None and asked_at is not None:
            body |= {"row": row, "asked_at": iso(asked_at)}
        if ban is not None:
            # That of a ban has to be as new as the ban.
            body["bans"] = [*body.get("bans", ()), ban]
            body.pop("row", None)
        body["discovery"] = discovery and body.get("discovery", True)
        store.put(name, due_at, body)

    def is_idle(self, *, discovery: bool = False) -> bool:
        """Whether nothing is left to be looked at (for the first time)."""
        names = self.office.store.names(PREFIX)
        return not names or (discovery and not any(self.office.store.body(name)["discovery"] for name in names))

    def due_at(self) -> datetime:
        return AT_ONCE if self.office.store.names(PREFIX) else NEVER

    def next_kind(self, closed: Collection[Kind]) -> Kind | None:
        kinds = {self.office.store.body(name)["kind"] for name in self.office.store.names(PREFIX)}
        return next((kind for kind in URGENCY if kind in kinds and kind not in closed), None)

    def step(self, now: datetime, kind: Kind) -> None:
        name = self._current = self._next(kind)
        body = self.office.store.body(name)
        bundle_id = name.removeprefix(PREFIX)
        parts = set(body["parts"])
        if ROW in parts or WARMING in parts:
            self._read_row(now, name, bundle_id, body, kind)
        elif SLOTS in parts:
            read_slots(self, bundle_id, kind, discovery=body["discovery"])
            self.office.store.drop(name)
        else:
            self.office.store.drop(name)

    def give_up(self, now: datetime) -> None:
        """The bundle is left out: whoever still wants to know asks again."""
        if self._current is not None:
            self.office.store.drop(self._current)

    def _next(self, kind: Kind) -> str:
        return next(name for name in self.office.store.names(PREFIX) if self.office.store.body(name)["kind"] == kind)

    def _read_row(self, now: datetime, name: str, bundle_id: str, body: Body, kind: Kind) -> None:
        row: Row | None = body.get("row")
        if row is None:
            answer = self.office.reads.bundle(kind, bundle_id)
            if answer is None:
                self.office.store.drop(name)
                return
            row = {"bundle_id": bundle_id, **answer.data}
            body |= {"row": row, "asked_at": iso(answer.asked_at)}
            if WARMING in body["parts"] and _wants_sessions(row):
                self.office.store.put(name, self.office.store.due_at(name), body)
                return
        sessions: list[Row] | None = None
        if WARMING in body["parts"]:
            account = _wants_sessions(row)
            sessions = self._sessions(kind, account) if account is not None else []
        asked_at = datetime.fromisoformat(body["asked_at"])
        facts = bundle_facts(row, asked_at, sessions)
        source = "GET /bundles/{id}"
        for ban in body.get("bans", ()):
            facts += ban_facts(ban, row, asked_at)
            source = "GET /account-bans"
        self.office.tell(source, asked_at, facts, discovery=body["discovery"])
        if SLOTS not in body["parts"]:
            self.office.store.drop(name)
            return
        rest: dict[str, Any] = {"parts": [SLOTS], "kind": body["kind"], "discovery": body["discovery"]}
        self.office.store.put(name, self.office.store.due_at(name), rest)

    def _sessions(self, kind: Kind, account: str) -> list[Row]:
        try:
            return list(self.office.reads.warming_sessions(kind, account).rows)
        except Refused as error:
            if error.status != 404:
                raise
            return []


def _wants_sessions(row: Row) -> str | None:
    """The account whose warming may have begun."""
    return name_of(row, "saved_account_id") if is_delivered(row) else None


def read_slots(sweep: Sweep, bundle_id: str, kind: Kind, *, discovery: bool = False) -> None:
    """Reads the slots of a bundle, and tells what they carry and how many are free."""
    page = sweep.office.reads.slots(kind, bundle_id)
    slots = tuple(slot for slot in map(Slot.of, page.rows) if slot is not None)
    counts = [Slots(bundle_id, slots, page).counts()]
    facts = slot_facts(bundle_id, page.rows, page.asked_at)
    sweep.office.tell("GET /bundles/{id}/videos", page.asked_at, facts, counts, discovery=discovery)
