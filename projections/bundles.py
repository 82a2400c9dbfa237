"""The projection `bundles`: every bundle with its state, holds and flags."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import accounts, bundle_accounts, bundles
from orchestrator.domain.bundle import BundleView, bundle_view
from orchestrator.domain.decisions import Step
from orchestrator.domain.facts import Note
from orchestrator.domain.times import iso
from orchestrator.log import Stored, note, recorded_at, step
from orchestrator.policies.placement import why_not_postable
from orchestrator.policies.schema import Policies
from projections import memo, policies
from projections.tables import Upsert, select_by

NAME = "bundles"
KEPT = 20_000
CHUNK = 5_000

_json = msgspec.json.Encoder().encode
_upsert = Upsert(bundles)
_upsert_account = Upsert(accounts)
_upsert_link = Upsert(bundle_accounts)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the countries count of a bundle."""

    country: str
    platform: str
    state: str
    postable: bool
    group: str

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


@dataclass(slots=True)
class Changes:
    """Standings before and after a batch; before is None for a new bundle."""

    before: dict[str, Standing | None] = field(default_factory=dict)
    after: dict[str, Standing] = field(default_factory=dict)


class Bundles:
    """Folds the events of a batch into rows. `prepare` reads and computes, `write` writes what it found."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows: OrderedDict[str, Row] = OrderedDict()
        self._accounts: dict[str, list[Note]] = {}
        self._policies: Policies | None = None
        self.forget()

    def forget(self) -> None:
        """Drops what is remembered between batches: the tables are the truth."""
        self._rows.clear()
        self._accounts.clear()
        self._policies = None
        self._pending: list[tuple[Any, ...]] = []
        self._rejudged: list[dict[str, Any]] = []
        self._pending_accounts: list[tuple[str, bytes]] = []
        self._pending_links: list[tuple[str, str]] = []

    def prepare(self, page: Sequence[Stored]) -> Changes:
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
                elif (taken := step(event.topic, event.state)) is not None:
                    done[name].append(taken)
                else:
                    born[name] = iso(recorded_at(event.state))
            elif kind == "account":
                fact = note(event.topic, event.state)
                if fact is not None:
                    account_told[name].append(fact)

        touched = {**dict.fromkeys(born), **dict.fromkeys(told), **dict.fromkeys(done)}
        self._load([name for name in touched if name not in born])
        for name, first_seen in born.items():
            self._keep(name, Row(first_seen))
        self._pending_links = []
        for name, notes in told.items():
            row = self._rows[name]
            row.notes += notes
            for account in {n.account for n in notes if n.account is not None} - row.linked:
                row.linked.add(account)
                self._pending_links.append((account, name))
        self._pending_links.sort()
        for name, steps in done.items():
            self._rows[name].steps += steps

        self._load_accounts(account_told)
        for account, notes in account_told.items():
            self._accounts[account] += notes
        self._pending_accounts = [(name, memo.encode(self._accounts[name])) for name in sorted(account_told)]

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

        changes = Changes()
        self._pending = []
        in_force, are_new = self._policies_at(page)
        for name in sorted(touched):
            row = self._rows[name]
            view = self._view(name, row, kin)
            policy = in_force.at(view.country, view.platform)
            postable = why_not_postable(view.state, view.warmed, view.holds, policy) is None
            standing = Standing(view.country or "", view.platform or "", view.state, postable, in_force.group_of(name))
            changes.before[name], changes.after[name] = row.standing, standing
            row.standing = standing
            self._pending.append(_values(name, row, view, standing))
        if are_new:
            self._judge_all(in_force, changes)
        return changes

    def _policies_at(self, page: Sequence[Stored]) -> tuple[Policies, bool]:
        """The policies in force at the end of the page, and whether they became so within it."""
        new = policies.last_of(page)
        if new is None and self._policies is None:
            new_or_old = policies.before(self._database, page[0].position)
            self._policies = new_or_old
            return new_or_old, False
        if new is not None:
            self._policies = new
            return new, True
        assert self._policies is not None  # noqa: S101 - told to the type checker
        return self._policies, False

    def _judge_all(self, in_force: Policies, changes: Changes) -> None:
        """New policies say anew of every bundle whether it is postable, and in which group it is."""
        query = sa.select(
            *(bundles.c[name] for name in ("bundle_id", "country", "platform", "state", "postable", "group")),
            bundles.c.warmed,
            bundles.c.holds,
        ).order_by(bundles.c.bundle_id)
        last = ""
        while True:
            with self._database.read() as connection:
                found = connection.execute(query.where(bundles.c.bundle_id > last).limit(CHUNK)).all()
            if not found:
                break
            last = found[-1].bundle_id
            for row in found:
                if row.bundle_id in changes.after:
                    continue
                before = Standing(row.country or "", row.platform or "", row.state, bool(row.postable), row.group)
                policy = in_force.at(row.country, row.platform)
                holds = msgspec.json.decode(row.holds)
                postable = why_not_postable(row.state, bool(row.warmed), holds, policy) is None
                after = replace(before, postable=postable, group=in_force.group_of(row.bundle_id))
                if after != before:
                    changes.before[row.bundle_id], changes.after[row.bundle_id] = before, after
                    self._rejudged.append({"b_id": row.bundle_id, "postable": postable, "b_group": after.group})
                    if (kept := self._rows.get(row.bundle_id)) is not None:
                        kept.standing = after

    def write(self, connection: sa.Connection) -> None:
        _upsert.execute(connection, self._pending)
        if self._rejudged:
            statement = bundles.update().where(bundles.c.bundle_id == sa.bindparam("b_id"))
            values: dict[str, Any] = {"postable": sa.bindparam("postable"), "group": sa.bindparam("b_group")}
            connection.execute(statement.values(values), self._rejudged)
            self._rejudged = []
        _upsert_account.execute(connection, self._pending_accounts)
        _upsert_link.execute(connection, self._pending_links)

    def trim(self) -> None:
        while len(self._rows) > KEPT:
            self._rows.popitem(last=False)
        if len(self._accounts) > KEPT:
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
        if not row.linked:
            return bundle_view(row.notes, steps=row.steps)
        others = [self._rows[other] for other in sorted({o for account in row.linked for o in kin[account]} - {name})]
        known = row.linked.union(*(other.linked for other in others))
        return bundle_view(
            row.notes,
            {account: self._accounts[account] for account in known},
            [other.notes for other in others],
            row.steps,
        )

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
        rows = select_by(self._database, bundle_accounts, columns, "saved_account_id", sorted(names))
        for account, bundle_id in [*rows, *(link for link in self._pending_links if link[0] in names)]:
            found[account].add(bundle_id)
        return found

    def _load(self, names: Sequence[str]) -> None:
        missing = []
        for name in names:
            if name in self._rows:
                self._rows.move_to_end(name)
            else:
                missing.append(name)
        if not missing:
            return
        columns = ["bundle_id", "first_seen", "memo", "country", "platform", "state", "postable", "group"]
        for name, first_seen, packed, country, platform, state, postable, group in select_by(
            self._database, bundles, columns, "bundle_id", missing
        ):
            notes, steps = memo.decode(packed)
            linked = {n.account for n in notes if n.account is not None}
            standing = Standing(country or "", platform or "", state, bool(postable), group)
            self._keep(name, Row(first_seen, notes, steps, linked, standing))

    def _load_accounts(self, names: Iterable[str]) -> None:
        missing = [name for name in names if name not in self._accounts]
        if not missing:
            return
        found = dict(select_by(self._database, accounts, ["saved_account_id", "memo"], "saved_account_id", missing))
        for name in missing:
            self._accounts[name] = memo.decode(found[name])[0] if name in found else []

    def _keep(self, name: str, row: Row) -> None:
        self._rows[name] = row


def _values(name: str, row: Row, view: BundleView, standing: Standing) -> tuple[Any, ...]:
    return (
        name,
        view.platform,
        view.country,
        standing.group,
        view.state,
        iso(view.state_since) if view.state_since else None,
        view.warmed,
        standing.postable,
        _text(view.holds),
        _text(view.flags),
        view.username,
        view.saved_account_id,
        _text(view.last_error) if view.last_error else None,
        row.first_seen,
        iso(view.last_event_at) if view.last_event_at else None,
        memo.encode(row.notes, row.steps),
    )


def _text(value: Any) -> str:
    return _json(value).decode() if value else "[]"
