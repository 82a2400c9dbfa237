"""The projection `bundles`: every bundle with its state, holds and flags."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.domain.bundle import Bundle, BundleView, bundle_view, take
from orchestrator.domain.decisions import Step
from orchestrator.domain.facts import Note
from orchestrator.domain.times import iso
from orchestrator.log import Stored, note, recorded_at, step
from orchestrator.policies.placement import why_not_postable
from orchestrator.policies.schema import Policies
from projections import memo, policies
from projections.copies import LIVE, Tables
from projections.rows import Changes, Rows
from projections.tables import Upsert, select_by

NAME = "bundles"
VERSION = 1
"""To be raised with every change of what a row says of the same log: the rows are then made anew."""
CHUNK = 5_000
ACCOUNTS_KEPT = 20_000
STEPS = frozenset({"BundlePaused", "BundleResumed", "ReviewRequested", "Reviewed", "SlotsCounted"})
"""Of our own events about a bundle, those that its row depends on."""

JUDGED = ("bundle_id", "country", "platform", "group", "state", "warmed", "postable", "holds")

_json = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Standing:
    """What the countries count of a bundle."""

    country: str
    platform: str
    state: str
    postable: bool

    @property
    def place(self) -> tuple[str, str]:
        return self.country, self.platform


@dataclass(slots=True)
class Row:
    first_seen: str
    notes: list[Note] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    linked: set[str] = field(default_factory=set)
    standing: Standing | None = None


class Bundles:
    """Folds the events of a batch into rows. `prepare` reads and computes, `write` writes what it found.

    The rows are in the `tables` of `database`; the log is there, too, or else in `source`.
    """

    def __init__(self, database: Database, tables: Tables = LIVE, source: Database | None = None) -> None:
        self._database = database
        self._source = source or database
        self._table, self._account_table = tables["bundles"], tables["accounts"]
        self._link_table = tables["bundle_accounts"]
        self._upsert, self._upsert_account = Upsert(self._table), Upsert(self._account_table)
        self._upsert_link = Upsert(self._link_table)
        self._rows: Rows[Row] = Rows()
        self._accounts: dict[str, list[Note]] = {}
        self._policies: Policies | None = None
        self.forget()

    def forget(self) -> None:
        """Drops what is remembered between batches: the tables are the truth."""
        self._rows.clear()
        self._accounts.clear()
        self._policies = None
        self._pending: list[tuple[Any, ...]] = []
        self._judged: list[dict[str, Any]] = []
        self._pending_accounts: list[tuple[str, bytes]] = []
        self._pending_links: list[tuple[str, str]] = []

    def prepare(self, page: Sequence[Stored]) -> Changes[Standing]:
        born: dict[str, str] = {}
        told: defaultdict[str, list[Note]] = defaultdict(list)
        done: defaultdict[str, list[Step]] = defaultdict(list)
        account_told: defaultdict[str, list[Note]] = defaultdict(list)
        for event in page:
            kind, _, name = event.originator_id.partition(":")
            if kind == "bundle":
                fact = note(event.topic, event.state)
                if fact is not None:
                    told[name].append(fact)
                elif event.topic == Bundle.BundleRegistered.TOPIC:
                    born[name] = iso(recorded_at(event.state))
                elif event.topic in STEPS and (taken := step(event.topic, event.state)) is not None:
                    done[name].append(taken)
            elif kind == "account":
                fact = note(event.topic, event.state)
                if fact is not None:
                    account_told[name].append(fact)

        touched = {**dict.fromkeys(born), **dict.fromkeys(told), **dict.fromkeys(done)}
        self._load([name for name in touched if name not in born])
        for name, first_seen in born.items():
            self._rows[name] = Row(first_seen)
        self._pending_links = []
        for name, notes in told.items():
            row = self._rows[name]
            row.notes += notes
            for account in {n.account for n in notes if n.account is not None} - row.linked:
                row.linked.add(account)
                self._pending_links.append((account, name))
        self._pending_links.sort()
        for name, steps in done.items():
            for taken in steps:
                take(self._rows[name].steps, taken)

        self._load_accounts(account_told)
        for account, notes in account_told.items():
            self._accounts[account] += notes
        self._pending_accounts = [(name, memo.encode(self._accounts[name])) for name in sorted(account_told)]

        in_force, are_new = self._policies_after(page)
        changes = self._show(touched, account_told, in_force)
        self._judged = self._judge_all(in_force, changes) if are_new else []
        return changes

    def refresh(self, names: Iterable[str], in_force: Policies) -> None:
        """Prepares the rows of these bundles, and of those that have an account with one of them, to be written anew
        from what is remembered of them."""
        touched = dict.fromkeys(names)
        self._load(list(touched))
        self._pending_accounts, self._pending_links, self._judged = [], [], []
        self._show(touched, (), in_force)

    def _show(self, touched: dict[str, None], account_told: Iterable[str], in_force: Policies) -> Changes[Standing]:
        """The rows of the bundles that were touched, and of all for whom that counts."""
        kin = self._kin(touched, account_told)
        if kin:
            for siblings in kin.values():
                touched.update(dict.fromkeys(siblings))
            self._load(list(touched))
            # What counts for a sibling is all that the bundles of its other accounts know.
            kin = self._kin(touched, ())
            self._load([name for names in kin.values() for name in names])
            relatives = {name for names in kin.values() for name in names}
            self._load_accounts(set().union(*(self._rows[name].linked for name in relatives)))

        changes: Changes[Standing] = {}
        self._pending = []
        for name in sorted(touched):
            row = self._rows[name]
            view = self._view(name, row, kin)
            postable = is_postable(view, in_force)
            standing = Standing(view.country or "", view.platform or "", view.state, postable)
            changes[name] = row.standing, standing
            row.standing = standing
            self._pending.append(values_of(name, row, view, in_force.group_of(name), postable))
        return changes

    def _policies_after(self, page: Sequence[Stored]) -> tuple[Policies, bool]:
        """The policies in force after the page, and whether they came into force in it."""
        new = policies.last_of(page)
        if new is None and self._policies is not None:
            return self._policies, False
        self._policies = new or policies.before(self._source, page[0].position)
        return self._policies, new is not None

    def _judge_all(self, in_force: Policies, changes: Changes[Standing]) -> list[dict[str, Any]]:
        """New policies say of every bundle anew in which group it is and whether it is postable. What they change of
        those that no event of the page touched is added to `changes`, and returned as it is to be written."""
        columns = self._table.c
        query = sa.select(*(columns[name] for name in JUDGED)).order_by(columns.bundle_id).limit(CHUNK)
        judged: list[dict[str, Any]] = []
        last = ""
        while True:
            with self._database.read() as connection:
                found = connection.execute(query.where(columns.bundle_id > last)).all()
            for row in found:
                if row.bundle_id in changes:
                    continue
                policy, group = in_force.at(row.country, row.platform), in_force.group_of(row.bundle_id)
                holds = msgspec.json.decode(row.holds)
                postable = why_not_postable(row.state, row.warmed, holds, policy) is None
                before = Standing(row.country or "", row.platform or "", row.state, row.postable)
                if postable == before.postable and group == row.group:
                    continue
                judged.append({"judged": row.bundle_id, "in_group": group, "is_postable": postable})
                after = changes[row.bundle_id] = before, replace(before, postable=postable)
                if (kept := self._rows.get(row.bundle_id)) is not None:
                    kept.standing = after[1]
            if len(found) < CHUNK:
                return judged
            last = found[-1].bundle_id

    def write(self, connection: sa.Connection) -> None:
        self._upsert.execute(connection, self._pending)
        if self._judged:
            judge = (
                self._table.update()
                .where(self._table.c.bundle_id == sa.bindparam("judged"))
                .values(group=sa.bindparam("in_group"), postable=sa.bindparam("is_postable"))
            )
            connection.execute(judge, self._judged)
        self._upsert_account.execute(connection, self._pending_accounts)
        self._upsert_link.execute(connection, self._pending_links)

    def trim(self) -> None:
        self._rows.trim()
        if len(self._accounts) > ACCOUNTS_KEPT:
            self._accounts.clear()

    def places(self, names: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Country and platform of bundles, as of the batch in hand; "" for what is not known."""
        wanted = set(names)
        self._load([name for name in wanted if name not in self._rows])
        return {
            name: row.standing.place
            for name in wanted
            if (row := self._rows.get(name)) is not None and row.standing is not None
        }

    def _view(self, name: str, row: Row, kin: dict[str, set[str]]) -> BundleView:
        others = sorted({other for account in row.linked for other in kin[account]} - {name})
        return view_of(row, [self._rows[other] for other in others], self._accounts)

    def _kin(self, touched: Iterable[str], told: Iterable[str]) -> dict[str, set[str]]:
        """By account, the bundles that ever named it: for every account that is touched or has a touched bundle."""
        names = set(told)
        for name in touched:
            if (row := self._rows.get(name)) is not None:
                names |= row.linked
        if not names:
            return {}
        found: defaultdict[str, set[str]] = defaultdict(set)
        for name in names:
            found[name] = set()
        columns = ["saved_account_id", "bundle_id"]
        rows = select_by(self._database, self._link_table, columns, "saved_account_id", sorted(names))
        for account, bundle_id in [*rows, *(link for link in self._pending_links if link[0] in names)]:
            found[account].add(bundle_id)
        return found

    def _load(self, names: Sequence[str]) -> None:
        columns = ["bundle_id", "first_seen", "memo", "country", "platform", "state", "postable"]
        missing = self._rows.missing(names)
        for name, first_seen, packed, country, platform, state, postable in select_by(
            self._database, self._table, columns, "bundle_id", missing
        ):
            notes, steps = memo.decode(packed)
            linked = {n.account for n in notes if n.account is not None}
            standing = Standing(country or "", platform or "", state, postable)
            self._rows[name] = Row(first_seen, notes, steps, linked, standing)

    def _load_accounts(self, names: Iterable[str]) -> None:
        missing = [name for name in names if name not in self._accounts]
        if not missing:
            return
        found = dict(
            select_by(self._database, self._account_table, ["saved_account_id", "memo"], "saved_account_id", missing)
        )
        for name in missing:
            self._accounts[name] = memo.decode(found[name])[0] if name in found else []


def fold(events: Sequence[Stored]) -> Row | None:
    """What is known of a bundle by its events, the first ones of all; None where there are none."""
    if not events:
        return None
    row = Row(iso(recorded_at(events[0].state)))
    for event in events:
        fact = note(event.topic, event.state)
        if fact is not None:
            row.notes.append(fact)
        elif event.topic in STEPS and (taken := step(event.topic, event.state)) is not None:
            take(row.steps, taken)
    row.linked = {fact.account for fact in row.notes if fact.account is not None}
    return row


def view_of(row: Row, relatives: Sequence[Row], accounts: Mapping[str, Sequence[Note]]) -> BundleView:
    """What the bundle is. `relatives`: the other bundles that ever named one of its accounts; `accounts`: the facts of
    all that any of them named."""
    known = row.linked.union(*(relative.linked for relative in relatives))
    return bundle_view(
        row.notes,
        {account: accounts[account] for account in known},
        [relative.notes for relative in relatives],
        row.steps,
    )


def is_postable(view: BundleView, in_force: Policies) -> bool:
    policy = in_force.at(view.country, view.platform)
    return why_not_postable(view.state, view.warmed, view.holds, policy) is None


def values_of(name: str, row: Row, view: BundleView, group: str, postable: bool) -> tuple[Any, ...]:
    """The values of the row's columns."""
    return (
        name,
        view.platform,
        view.country,
        group,
        view.state,
        iso(view.state_since) if view.state_since else None,
        view.warmed,
        postable,
        _text(view.holds),
        _text(view.flags),
        view.username,
        view.saved_account_id,
        _text(view.last_error) if view.last_error else None,
        row.first_seen,
        iso(view.last_event_at) if view.last_event_at else None,
        memo.encode(row.notes, row.steps),
        iso(view.warmed_at) if view.warmed_at else None,
        view.slots.total if view.slots else None,
        view.slots.free if view.slots else None,
    )


def _text(value: Any) -> str:
    return _json(value).decode() if value else "[]"
