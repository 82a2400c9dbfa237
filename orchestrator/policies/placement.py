"""Which account gets a video, and on which day of its calendar.

Candidates are judged one by one, and every choice comes with the verdicts: what was wrong with those passed over,
and why the one was taken. The same question gets the same answer; nothing is booked here but what the caller books.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import NamedTuple

from orchestrator.campaigns.spec import CampaignSpec, Target
from orchestrator.policies.fields import WEEKDAYS
from orchestrator.policies.schema import Policies, Policy

NAMESPACE = uuid.UUID("0f5a8c1e-3a64-5d0b-8c35-6a0a7c0b2f11")
HORIZON = timedelta(days=60)
"""How far ahead a video is planned whose campaign names no end."""
LONGEST = timedelta(days=366)
"""How far ahead a video is planned at most."""
HOLDS = ("closed", "suspended", "uncovered", "needs_review", "paused")

MORE_LOADED = "eligible, but more loaded"
LATER_LISTED = "eligible, but later in the list"
NOT_PLANNED = "eligible, but not as planned"
CAP = "cap reached"
NO_SLOT = "no free slot"


def why_not_postable(state: str, warmed: bool, holds: Sequence[str], policy: Policy) -> str | None:
    """Why no video may be placed on an account, or handed to it; None if it is postable."""
    if state == "banned":
        return "banned"
    for hold in HOLDS:
        if hold in holds:
            return hold.replace("_", " ")
    if state in ("unknown", "failed"):
        return f"not postable: {state}"
    wanted = policy.posting.postable
    if wanted == "auto":
        is_postable = warmed or (policy.warming.mode == "none" and state in ("ready", "completed"))
    else:
        is_postable = state in wanted or (warmed and "completed" in wanted)
    return None if is_postable else f"not postable: {state}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of a bundle. `account`: its id at TokPortal, or the bundle's where none is known; `delivered`:
    whether the account exists; `slots_free`: None where nobody knows."""

    bundle_id: str
    account: str
    country: str | None
    platform: str | None
    group: str
    state: str
    warmed: bool
    warmed_at: datetime | None
    delivered: bool
    holds: tuple[str, ...]
    slots_free: int | None = None
    full_days: frozenset[date] = frozenset()
    """Days for which TokPortal takes no further video."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A video that wants an account. `bundles`: only these; `accounts`: its target may use so many; `day`: only then;
    `target`: the place of its target in the campaign."""

    video_id: str
    campaign_id: str
    target: int
    ref: str
    country: str
    platform: str
    group: str
    starts: date | None = None
    ends: date | None = None
    bundles: tuple[str, ...] | None = None
    accounts: int | None = None
    day: date | None = None

    @property
    def unlocated(self) -> str | None:
        """Why nobody can tell yet where the video is to be posted, if so."""
        if self.country and self.platform:
            return None
        return f"nobody knows yet where {(self.bundles or ('',))[0]} is: name its country and platform"


def wishes(
    spec: CampaignSpec,
    existing: Callable[[str, str, str], int],
    locate: Callable[[str], tuple[str, str] | None],
    first: int = 0,
    last: int | None = None,
) -> tuple[Wish, ...]:
    """The videos that a campaign asks for, one for each account that is to post it, in the order of its file: all, or
    those from `first` up to `last`.

    `existing` tells how many accounts of a group a market has, `locate` country and platform of a bundle.
    """
    campaign_id = spec.campaign_id
    found = []
    for index, ref, slot, bundles in islice(_asked(spec, existing), first, last):
        target = spec.targets[index]
        place = (target.country, target.platform)
        if (place[0] is None or place[1] is None) and bundles:
            place = locate(bundles[0]) or place
        found.append(
            Wish(
                video_id="vid_" + uuid.uuid5(NAMESPACE, f"{campaign_id}\0{index}\0{ref}\0{slot}").hex,
                campaign_id=campaign_id,
                target=index,
                ref=ref,
                country=place[0] or "",
                platform=place[1] or "",
                group=spec.group,
                starts=spec.starts,
                ends=spec.ends,
                bundles=bundles,
                accounts=target.accounts,
                day=target.target_day,
            )
        )
    return tuple(found)


def _asked(
    spec: CampaignSpec, existing: Callable[[str, str, str], int]
) -> Iterator[tuple[int, str, str, tuple[str, ...] | None]]:
    """By wish: its target, its content, what tells it from others of both, and the bundles that it may go to."""
    every = [video.ref for video in spec.videos]
    for index, target in enumerate(spec.targets):
        slots = _slots(spec, target, existing)
        for ref in every if target.ref is None else [target.ref]:
            for slot, bundles in slots:
                yield index, ref, slot, bundles


def _slots(
    spec: CampaignSpec, target: Target, existing: Callable[[str, str, str], int]
) -> list[tuple[str, tuple[str, ...] | None]]:
    if spec.spread == "one_account":
        return [("", target.bundles)]
    if target.bundles is not None:
        return [(bundle_id, (bundle_id,)) for bundle_id in target.bundles]
    there_are = existing(target.country or "", target.platform or "", spec.group)
    wanted = there_are if target.accounts is None else min(target.accounts, there_are)
    return [(str(number), None) for number in range(1, max(wanted, 1) + 1)]


class Ledger:
    """What every account carries: its calendar, its load, and the content that it has or had."""

    def __init__(self) -> None:
        self._days: defaultdict[str, Counter[date]] = defaultdict(Counter)
        self._open: Counter[str] = Counter()
        self._of_campaign: Counter[tuple[str, str]] = Counter()
        self._of_target: defaultdict[tuple[str, int], Counter[str]] = defaultdict(Counter)
        self._content: Counter[tuple[str, str, str]] = Counter()
        self._slots: dict[str, tuple[int, datetime]] = {}
        self._taking: defaultdict[str, Counter[datetime | None]] = defaultdict(Counter)

    def book(self, account: str, day: date, campaign_id: str, target: int, *, is_open: bool) -> None:
        """Takes room on a day; `is_open`: the video is still on its way."""
        self._add(account, day, campaign_id, target, is_open, 1)

    def unbook(self, account: str, day: date, campaign_id: str, target: int, *, is_open: bool) -> None:
        """Takes back what was booked with the same words."""
        self._add(account, day, campaign_id, target, is_open, -1)

    def _add(self, account: str, day: date, campaign_id: str, target: int, is_open: bool, number: int) -> None:
        days, of_target = self._days[account], self._of_target[campaign_id, target]
        days[day] += number
        of_target[account] += number
        self._of_campaign[account, campaign_id] += number
        if is_open:
            self._open[account] += number
        if number < 0:
            if not days[day]:
                del days[day]
            if not of_target[account]:
                del of_target[account]

    def mark_content(self, account: str, campaign_id: str, ref: str) -> None:
        """The account carries, or carried, this content."""
        self._content[account, campaign_id, ref] += 1

    def unmark_content(self, account: str, campaign_id: str, ref: str) -> None:
        self._content[account, campaign_id, ref] -= 1

    def count_slots(self, bundle_id: str, counted: tuple[int, datetime] | None) -> None:
        """TokPortal counted so many free slots at that moment; None: it never did."""
        if counted is None:
            self._slots.pop(bundle_id, None)
        else:
            self._slots[bundle_id] = counted

    def take_slot(self, bundle_id: str, at: datetime | None = None) -> None:
        """A video on its way to the bundle got its slot at this moment; None: it has still to get one."""
        self._taking[bundle_id][at] += 1

    def give_slot(self, bundle_id: str, at: datetime | None = None) -> None:
        """Takes back what was said with the same words."""
        self._taking[bundle_id][at] -= 1
        if not self._taking[bundle_id][at]:
            del self._taking[bundle_id][at]

    def slots_left(self, bundle_id: str, counted: tuple[int, datetime] | None = None) -> int | None:
        """How many more videos the bundle has a slot for: those that were counted, less what got one since or is still
        to get one. None where nobody knows. `counted`: as if this were the last count."""
        counted = counted or self._slots.get(bundle_id)
        if counted is None:
            return None
        free, counted_at = counted
        taking: Mapping[datetime | None, int] = self._taking.get(bundle_id, {})
        return max(0, free - sum(n for at, n in taking.items() if at is None or at > counted_at))

    def on_day(self, account: str, day: date) -> int:
        return self._days[account][day] if account in self._days else 0

    def open(self, account: str) -> int:
        return self._open[account]

    def of_campaign(self, account: str, campaign_id: str) -> int:
        return self._of_campaign[account, campaign_id]

    def accounts_of(self, campaign_id: str, target: int) -> Mapping[str, int]:
        return self._of_target.get((campaign_id, target), {})

    def carries(self, account: str, campaign_id: str, ref: str) -> bool:
        return self._content[account, campaign_id, ref] > 0


class Verdict(NamedTuple):
    bundle_id: str
    why: str
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """Who was chosen and why, or why nobody was. `verdicts`: the chosen one first, then the best; `counts`: how many
    were passed over for which reason."""

    bundle_id: str | None
    account: str
    day: date | None
    reason: str
    verdicts: tuple[Verdict, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


Load = tuple[int, int, str]
"""How much an account has of a campaign, and in all; and its bundle, so that there are no equals."""


@dataclass(slots=True)
class _Side:
    """The candidates of a market as one group sees them. `counts`: how many are `rejected` for which reason."""

    eligible: dict[str, Candidate]
    rejected: list[Verdict]
    counts: Counter[str]


@dataclass(slots=True)
class _Queue:
    """Candidates for videos that may be posted on the same days, the least loaded first. `full`: those who have no room
    on any of these days; `counts`: how many they are, by reason."""

    heap: list[Load]
    full: list[Verdict] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Market:
    """The accounts of one platform in one country, as they are at one moment. What does not depend on the video is
    worked out once. `without_slots`: as if every bundle had slots for all that it is given."""

    def __init__(
        self,
        country: str,
        platform: str,
        candidates: Iterable[Candidate],
        policies: Policies,
        ledger: Ledger,
        now: datetime,
        *,
        without_slots: bool = False,
    ) -> None:
        self._without_slots = without_slots
        self.country, self.platform = country, platform
        self._policy = policies.at(country, platform)
        self._reserved = policies.reserved(country, platform)
        self._ledger = ledger
        zone = self._policy.zone(country)
        self.today = now.astimezone(zone).date()
        self._candidates = {c.bundle_id: c for c in sorted(candidates, key=lambda c: c.bundle_id)}
        self._unfit: dict[str, str] = {}
        self._warm_since: dict[str, date] = {}
        for name, candidate in self._candidates.items():
            why = why_not_postable(candidate.state, candidate.warmed, candidate.holds, self._policy)
            if why is None and candidate.slots_free == 0 and not without_slots:
                why = NO_SLOT
            if why is not None:
                self._unfit[name] = why
            if candidate.warmed_at is not None:
                # The ramp is the account's, whichever of its bundles was the first to be warm.
                day, account = candidate.warmed_at.astimezone(zone).date(), candidate.account
                self._warm_since[account] = min(day, self._warm_since.get(account, day))
        self._sides: dict[str, _Side] = {}
        self._queues: dict[tuple[object, ...], _Queue] = {}
        self._days: dict[tuple[date, date], list[date]] = {}
        self._blackout = self._policy.posting.blackout
        self._weekdays = frozenset(WEEKDAYS.index(day) for day in self._policy.posting.days)

    def shared(self) -> tuple[Verdict, ...]:
        """The verdicts that every video would meet here."""
        return tuple(Verdict(name, why) for name, why in self._unfit.items())

    # The calendar.

    def cap(self, candidate: Candidate, day: date) -> int:
        """How many videos the account may have on the day."""
        posting = self._policy.posting
        since = self._warm_since.get(candidate.account)
        if posting.ramp and since is not None:
            after = max(0, (day - since).days - 1)
            if after < len(posting.ramp):
                return min(posting.per_day, posting.ramp[after])
        return posting.per_day

    def earliest(self, candidate: Candidate) -> date:
        posting = self._policy.posting
        return self.today + timedelta(days=posting.lead_existing if candidate.delivered else posting.lead_new)

    def is_posting_day(self, day: date) -> bool:
        return day.weekday() in self._weekdays and not any(first <= day <= last for first, last in self._blackout)

    def _posting_days(self, first: date, last: date) -> list[date]:
        days = self._days.get((first, last))
        if days is None:
            every = (first + timedelta(days=n) for n in range((last - first).days + 1))
            days = self._days[first, last] = [day for day in every if self.is_posting_day(day)]
        return days

    def _full(self, candidate: Candidate, day: date) -> str:
        if day in candidate.full_days:
            return f"cap reached at TokPortal on {day}"
        booked = self._ledger.on_day(candidate.account, day)
        return f"cap {booked}/{self.cap(candidate, day)} on {day}"

    def _has_room(self, candidate: Candidate, day: date) -> bool:
        return day not in candidate.full_days and self._ledger.on_day(candidate.account, day) < self.cap(candidate, day)

    def _lacks_slot(self, candidate: Candidate) -> bool:
        """Whether what was placed there meanwhile takes the last of its slots."""
        return not self._without_slots and self._ledger.slots_left(candidate.bundle_id) == 0

    def _check_day(self, candidate: Candidate, day: date) -> str | None:
        """Why the account cannot have another video on this day."""
        if self._lacks_slot(candidate):
            return NO_SLOT
        earliest = self.earliest(candidate)
        if day < earliest:
            return f"{day} is too soon: TokPortal needs until {earliest}"
        if not self.is_posting_day(day):
            return f"{day} is no posting day"
        return None if self._has_room(candidate, day) else self._full(candidate, day)

    def _best_day(self, candidate: Candidate, wish: Wish) -> date | str:
        """The emptiest allowed day, the earliest of several; or why there is none."""
        if wish.day is not None:
            return self._check_day(candidate, wish.day) or wish.day
        if self._lacks_slot(candidate):
            return NO_SLOT
        first = self.earliest(candidate)
        if wish.starts is not None:
            first = max(first, wish.starts)
        if wish.ends is not None and wish.ends < first:
            return f"too late: TokPortal needs until {first}, and the campaign ends on {wish.ends}"
        last = first + HORIZON if wish.ends is None else min(wish.ends, first + LONGEST)
        days = self._posting_days(first, last)
        if not days:
            return f"no posting day from {first} to {last}"
        best: tuple[int, date] | None = None
        for day in days:
            booked = self._ledger.on_day(candidate.account, day)
            if day in candidate.full_days:
                continue
            if booked < self.cap(candidate, day) and (best is None or booked < best[0]):
                best = (booked, day)
                if not booked:
                    break
        return best[1] if best is not None else self._full(candidate, days[0])

    def has_room(self, bundle_id: str, day: date) -> bool:
        """Whether the account may have one more video on the day."""
        candidate = self._candidates.get(bundle_id)
        return candidate is not None and self._has_room(candidate, day)

    def next_day(self, bundle_id: str, first: date, last: date) -> date | None:
        """The first day on which the account has room for one more video."""
        candidate = self._candidates.get(bundle_id)
        if candidate is None:
            return None
        days = self._posting_days(max(first, self.earliest(candidate)), last)
        return next((day for day in days if self._has_room(candidate, day)), None)

    # The first account of a video.

    def place(self, wish: Wish, prefer: tuple[str, date] | None = None, keep: int = 20) -> Choice:
        """The account that posts the video, and the day. `prefer` is taken if it is still allowed."""
        side = self._side(wish.group)
        used = self._ledger.accounts_of(wish.campaign_id, wish.target)
        choice = self._least_loaded(side, wish, used, keep)
        if prefer is None or prefer == (choice.bundle_id, choice.day):
            return choice
        planned = side.eligible.get(prefer[0])
        if planned is None or not self._allows(planned, prefer[1], wish, used):
            return choice
        return _as_planned(planned, prefer[1], choice, keep)

    def _load(self, candidate: Candidate, wish: Wish) -> Load:
        ledger, account = self._ledger, candidate.account
        return ledger.of_campaign(account, wish.campaign_id), ledger.open(account), candidate.bundle_id

    def _allows(self, candidate: Candidate, day: date, wish: Wish, used: Mapping[str, int]) -> bool:
        if wish.bundles is not None and candidate.bundle_id not in wish.bundles:
            return False
        if wish.accounts is not None and len(used) >= wish.accounts and candidate.account not in used:
            return False
        if self._ledger.carries(candidate.account, wish.campaign_id, wish.ref):
            return False
        first, last = (wish.starts or day, wish.ends or day) if wish.day is None else (wish.day, wish.day)
        return first <= day <= last and self._check_day(candidate, day) is None

    def _least_loaded(self, side: _Side, wish: Wish, used: Mapping[str, int], keep: int) -> Choice:
        if wish.bundles is not None:
            queue = self._queue_of((side.eligible[name] for name in wish.bundles if name in side.eligible), wish)
            rejected = [verdict for verdict in side.rejected if verdict.bundle_id in wish.bundles]
            rejected += [Verdict(name, "not known here") for name in wish.bundles if name not in self._candidates]
            return self._first_of(queue, wish, rejected, _count(rejected), keep)
        if wish.accounts is None or len(used) < wish.accounts:
            queue = self._queue(None, side.eligible.values(), wish)
            return self._first_of(queue, wish, side.rejected, side.counts, keep)
        queue = self._queue(wish.target, (c for c in side.eligible.values() if c.account in used), wish)
        full = f"the target has its {wish.accounts} accounts"
        others = (Verdict(c.bundle_id, full) for c in side.eligible.values() if c.account not in used)
        counts = side.counts + Counter({full: len(side.eligible) - len(queue.heap) - len(queue.full)})
        return self._first_of(queue, wish, [*islice(others, keep), *side.rejected[:keep]], counts, keep)

    def _queue(self, target: int | None, candidates: Iterable[Candidate], wish: Wish) -> _Queue:
        """The queue of all who are eligible, or of the accounts of a target that has enough."""
        name = (wish.campaign_id, wish.group, target, wish.starts, wish.ends, wish.day)
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = self._queue_of(candidates, wish)
        return queue

    def _queue_of(self, candidates: Iterable[Candidate], wish: Wish) -> _Queue:
        heap = [self._load(candidate, wish) for candidate in candidates]
        heapify(heap)
        return _Queue(heap)

    def _first_of(
        self, queue: _Queue, wish: Wish, rejected: Sequence[Verdict], counts: Counter[str], keep: int
    ) -> Choice:
        """The least loaded candidate that can have the video. They are not judged and sorted anew for every video:
        loads only grow while a plan is made, so an old place in the queue is never too far back, and who is full stays
        full."""
        heap, passed, aside = queue.heap, list[Verdict](), list[Load]()
        found: tuple[Candidate, date] | None = None
        while heap and found is None:
            load = heappop(heap)
            candidate = self._candidates[load[2]]
            current = self._load(candidate, wish)
            if current != load:
                heappush(heap, current)
            elif self._ledger.carries(candidate.account, wish.campaign_id, wish.ref):
                aside.append(load)
                passed.append(Verdict(candidate.bundle_id, f"already has {wish.ref}"))
            elif isinstance(day := self._best_day(candidate, wish), date):
                aside.append(load)
                found = candidate, day
            else:
                queue.full.append(Verdict(candidate.bundle_id, day))
                queue.counts[_kind(day)] += 1
        rest = [Verdict(load[2], MORE_LOADED) for load in heap[:keep]]
        counts = counts + _count(passed) + queue.counts + Counter({MORE_LOADED: len(heap)})
        for load in aside:
            heappush(heap, load)
        others = [*passed, *queue.full[:keep], *rest, *rejected[:keep]]
        if found is None:
            return self._nobody(others, counts, keep)
        return _chosen(*found, "least loaded", others, counts, keep)

    def _side(self, group: str) -> _Side:
        side = self._sides.get(group)
        if side is None:
            eligible: dict[str, Candidate] = {}
            rejected: list[Verdict] = []
            for name, candidate in self._candidates.items():
                if candidate.group != group:
                    rejected.append(Verdict(name, "other group"))
                elif name in self._unfit:
                    rejected.append(Verdict(name, self._unfit[name]))
                elif name in self._reserved:
                    rejected.append(Verdict(name, "reserved"))
                else:
                    eligible[name] = candidate
            side = self._sides[group] = _Side(eligible, rejected, _count(rejected))
        return side

    # The next account of a video.

    def reroute(
        self,
        wish: Wish,
        *,
        excluded: Mapping[str, str],
        day: date,
        last_day: date,
        keep: int = 200,
        only: str | None = None,
    ) -> Choice:
        """The account that takes the video over. `excluded`: accounts that must not, and why; whoever lets it keep its
        `day` comes first, then the next day with room, up to `last_day`; `only`: a person named this bundle.

        The verdicts leave out those of `shared`.
        """
        reroute = self._policy.reroute
        backups = reroute.backups if only is None else None
        in_order = backups is not None and reroute.choose == "listed_order"
        passed: list[Verdict] = []
        unfit: Counter[str] = Counter()
        found: list[tuple[tuple[object, ...], Candidate, date]] = []
        for name, candidate in self._candidates.items():
            if only is not None and name != only:
                continue
            if name in self._unfit:
                unfit[self._unfit[name]] += 1
                continue
            why = self._why_no_backup(candidate, wish, excluded, backups)
            there = self._next_from(candidate, day, last_day) if why is None else why
            if isinstance(there, str):
                passed.append(Verdict(name, there))
            elif in_order and backups is not None:
                found.append(((there != day, backups.index(name)), candidate, there))
            else:
                found.append(((there, self._ledger.open(candidate.account), name), candidate, there))
        if not found:
            if only in self._unfit:
                return self._nobody([Verdict(only, self._unfit[only])], unfit, keep)
            if only is not None and only not in self._candidates:
                passed.append(Verdict(only, "not known here"))
            return self._nobody(passed, _count(passed) + unfit, keep)
        found.sort(key=lambda item: item[0])
        _, chosen, taken = found[0]
        second = LATER_LISTED if in_order else MORE_LOADED
        rest = [Verdict(other.bundle_id, self._check_day(other, taken) or second) for _, other, _ in found[1:]]
        how = "first in the list of backups" if in_order else "least loaded" if only is None else "named by a person"
        others = [*rest, *passed]
        return _chosen(chosen, taken, how, others, _count(others) + unfit, keep)

    def _why_no_backup(
        self, candidate: Candidate, wish: Wish, excluded: Mapping[str, str], backups: Sequence[str] | None
    ) -> str | None:
        if candidate.group != wish.group:
            return "other group"
        if candidate.account in excluded:
            return excluded[candidate.account]
        if self._ledger.carries(candidate.account, wish.campaign_id, wish.ref):
            return f"already has {wish.ref}"
        if backups is not None and candidate.bundle_id not in backups:
            return "no listed backup"
        return None

    def _next_from(self, candidate: Candidate, day: date, last_day: date) -> date | str:
        if self._lacks_slot(candidate):
            return NO_SLOT
        first = max(day, self.earliest(candidate))
        if first > last_day:
            return f"too late: TokPortal needs until {first}, and the deadline is {last_day}"
        days = self._posting_days(first, last_day)
        room = next((d for d in days if self._has_room(candidate, d)), None)
        if room is not None:
            return room
        return self._full(candidate, days[0]) if days else f"no posting day from {first} to {last_day}"

    def _nobody(self, others: Sequence[Verdict], counts: Counter[str], keep: int) -> Choice:
        total = sum(counts.values())
        if not total:
            reason = f"no account of {self.platform} in {self.country} is known"
        elif len(others) == 1 and total == 1:
            reason = f"{others[0].bundle_id} does not qualify: {others[0].why}"
        else:
            kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
            reason = f"nobody of {total} qualifies: {kinds}"
        return Choice(None, "", None, reason, tuple(others[:keep]), dict(counts))


def _chosen(
    candidate: Candidate, day: date, how: str, others: Sequence[Verdict], counts: Mapping[str, int], keep: int
) -> Choice:
    verdicts = (Verdict(candidate.bundle_id, f"chosen: {how}", True), *others)
    reason = f"{candidate.bundle_id} takes it on {day}: {how}"
    return Choice(candidate.bundle_id, candidate.account, day, reason, verdicts[:keep], dict(counts))


def _as_planned(candidate: Candidate, day: date, choice: Choice, keep: int) -> Choice:
    """People were shown this account and this day. They are kept, though `choice` would be made now."""
    others = [
        Verdict(verdict.bundle_id, NOT_PLANNED if verdict.chosen else verdict.why)
        for verdict in choice.verdicts
        if verdict.bundle_id != candidate.bundle_id
    ]
    counts = Counter(choice.counts)
    if choice.bundle_id != candidate.bundle_id:
        counts = counts + Counter({NOT_PLANNED: 1}) - Counter({MORE_LOADED: 1})
    return _chosen(candidate, day, "as planned", others, counts, keep)


def _count(verdicts: Iterable[Verdict]) -> Counter[str]:
    return Counter(_kind(verdict.why) for verdict in verdicts)


def _kind(why: str) -> str:
    """The reason without the day that it is about, so that equal ones can be counted."""
    if why.startswith("cap "):
        return CAP
    if why.startswith("already has "):
        return "have it already"
    return why.partition(":")[0] if "too soon:" in why or why.startswith("too late:") else why


def plan(
    wanted: Sequence[Wish],
    markets: Callable[[str, str], Market],
    ledger: Ledger,
    closed: Callable[[str, str], str | None] = lambda country, platform: None,
) -> list[tuple[Wish, Choice]]:
    """What would become of the wishes if they were placed now, in their order. Books what it places in `ledger`."""
    found = []
    for wish in wanted:
        shut = wish.unlocated or closed(wish.country, wish.platform)
        choice = markets(wish.country, wish.platform).place(wish) if shut is None else Choice(None, "", None, shut)
        if choice.day is not None:
            ledger.book(choice.account, choice.day, wish.campaign_id, wish.target, is_open=True)
            ledger.mark_content(choice.account, wish.campaign_id, wish.ref)
            ledger.take_slot(str(choice.bundle_id))
        found.append((wish, choice))
    return found
