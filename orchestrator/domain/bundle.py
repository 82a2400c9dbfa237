"""A bundle: one order at TokPortal, which is one social account on one platform in one country.

Bundles with one `saved_account_id` are one account: what the vendor reports for the account, or account-wide for
another bundle of it, speaks for all of them at its key. Nothing is copied between aggregates for that; `bundle_view`
reads the facts where they were recorded, so facts may arrive, and accounts become known, in any order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain.aggregate import Registered, Remembering
from orchestrator.domain.decisions import Step, read_key
from orchestrator.domain.facts import API, PUBLIC, DomainEvent, Key, Note
from orchestrator.domain.found import spoken_life, with_remakes

STATES = ("unknown", "created", "ready", "warming", "completed", "failed", "banned")

LIFECYCLE = {
    "BundleCreated": "created",
    "BundleReady": "ready",
    "WarmingStarted": "warming",
    "WarmingCompleted": "completed",
    "WarmingFailed": "failed",
}
WARMING = frozenset({"WarmingStarted", "WarmingCompleted", "WarmingFailed"})
DELIVERED = WARMING | {"BundleReady", "AccountInReview"}
"""Facts that only an account which exists can have."""

HOLDS = {
    "suspended": frozenset({"AppealSubmitted"}),
    "uncovered": frozenset({"CoverageLapsed", "CoverageCancelled"}),
    "closed": frozenset({"BundleCancelled", "BundleArchived"}),
}
"""Hold: the facts that set it."""

LIFTS = {
    "suspended": frozenset({"AppealResolved"}),
    "uncovered": frozenset({"CoverageReactivated", "CoverageRenewed"}),
    "closed": frozenset({"BundlePublished"}),
}
"""Hold: the facts that lift it; of an appeal's resolutions, only one that accepted it."""

ACCOUNT_WIDE = frozenset(
    {
        "BundleBanned",
        "Reinstated",
        "AppealSubmitted",
        "AppealResolved",
        "CoverageLapsed",
        "CoverageCancelled",
        "CoverageReactivated",
        "CoverageRenewed",
        "CoverageEnded",
        "AccountRevealed",
    }
)
"""What holds for every bundle of one account, whichever of them it was reported for."""

NO_FACTS = frozenset({"BundleMentioned", "Reinstated"})


class Bundle(Remembering):
    TOPIC = "Bundle"

    class Event(DomainEvent):
        TOPIC = "Bundle.Event"

    @dataclass(frozen=True)
    class BundleRegistered(Registered):
        TOPIC = "BundleRegistered"
        bundle_id: str

    def __init__(self, bundle_id: str) -> None:
        super().__init__()
        self.bundle_id = bundle_id
        self._taught: dict[str, tuple[Key, set[str]]] = {}

    def remember(self, note: Note) -> None:
        super().remember(note)
        for name, value in (("country", note.country), ("platform", note.platform)):
            if value is not None:
                smallest, values = self._taught.get(name, (note.key, set()))
                self._taught[name] = (min(smallest, note.key), values | {value})

    def take(self, step: Step) -> None:
        take(self.steps, step)

    @staticmethod
    def key(bundle_id: str) -> str:
        """The aggregate's id in the log."""
        return f"bundle:{bundle_id}"

    @classmethod
    def register(cls, bundle_id: str, *, message_id: str, now: datetime) -> Bundle:
        return cls._create(
            cls.BundleRegistered, id=cls.key(bundle_id), timestamp=now, message_id=message_id, bundle_id=bundle_id
        )

    def needs_mention(self, key: Key, country: str | None, platform: str | None, account: str | None) -> bool:
        """Whether what a video event says of this bundle could ever change its country, platform or account.

        Only the smallest fact that has a value decides, and a second value is a contradiction; so a mention that
        is neither earlier nor different need not be recorded, in whatever order it comes.
        """
        if account is not None:
            return True
        for name, value in (("country", country), ("platform", platform)):
            if value is None:
                continue
            if name not in self._taught:
                return True
            smallest, values = self._taught[name]
            if key < smallest or value not in values:
                return True
        return False


def take(steps: list[Step], step: Step) -> None:
    """Adds `step`. Slots are counted with nearly every video, and only the newest count is ever current."""
    if step.name == "SlotsCounted":
        steps[:] = [other for other in steps if other.name != step.name]
    steps.append(step)


class Account(Remembering):
    """The facts that name only an account; they speak for the bundles that have that account at their key."""

    TOPIC = "Account"

    class Event(DomainEvent):
        TOPIC = "Account.Event"

    @dataclass(frozen=True)
    class AccountRegistered(Registered):
        TOPIC = "AccountRegistered"
        saved_account_id: str

    def __init__(self, saved_account_id: str) -> None:
        super().__init__()
        self.saved_account_id = saved_account_id

    @staticmethod
    def key(saved_account_id: str) -> str:
        """The aggregate's id in the log."""
        return f"account:{saved_account_id}"

    @classmethod
    def register(cls, saved_account_id: str, *, message_id: str, now: datetime) -> Account:
        return cls._create(
            cls.AccountRegistered,
            id=cls.key(saved_account_id),
            timestamp=now,
            message_id=message_id,
            saved_account_id=saved_account_id,
        )


class Eras:
    """A bundle's life, cut by remakes: in each era it has one account, that of the smallest fact which names one."""

    __slots__ = ("accounts", "contradicted", "remakes", "starts")

    def __init__(self, notes: Iterable[Note], accounts: Mapping[str, Sequence[Note]]) -> None:
        notes = list(with_remakes(list(notes), accounts))
        self.remakes = sorted((note for note in notes if note.name == "AccountRemade"), key=lambda note: note.key)
        self._name([note for note in notes if note.account is not None])
        reported = [
            note
            for account in self.names()
            for note in accounts.get(account, ())
            if note.name == "AccountRemade" and self.account_at(note.key) == account
        ]
        if reported:
            self.remakes = sorted([*self.remakes, *reported], key=lambda note: note.key)
            self._name([note for note in [*notes, *reported] if note.account is not None])

    def _name(self, naming: Sequence[Note]) -> None:
        self.starts = [note.key for note in self.remakes]
        self.accounts: list[str | None] = [None] * (len(self.starts) + 1)
        self.contradicted = False
        for note in sorted(naming, key=lambda note: note.key):
            era = bisect_right(self.starts, note.key)
            if self.accounts[era] is None:
                self.accounts[era] = note.account
            elif self.accounts[era] != note.account:
                self.contradicted = True

    def account_at(self, key: Key) -> str | None:
        return self.accounts[bisect_right(self.starts, key)]

    def names(self) -> set[str]:
        """Every account that the bundle ever had."""
        return {account for account in self.accounts if account is not None}

    @property
    def current(self) -> str | None:
        return self.accounts[-1]

    @property
    def last_remake(self) -> Note | None:
        return self.remakes[-1] if self.remakes else None


@dataclass(frozen=True, slots=True)
class Slots:
    """How many videos a bundle may have in all (None where only the free ones are known), and how many more, at the
    moment `at`. `code`: why it takes none, where that is not for want of slots."""

    total: int | None
    free: int
    at: datetime
    code: str | None = None


@dataclass(frozen=True, slots=True)
class BundleView:
    """What a bundle is, by all facts known. Times are the vendor's, UTC."""

    platform: str | None
    country: str | None
    state: str
    state_since: datetime | None
    warmed: bool
    postable: bool
    holds: tuple[str, ...]
    flags: tuple[str, ...]
    username: str | None
    saved_account_id: str | None
    last_error: dict[str, str | None] | None
    last_event_at: datetime | None
    warmed_at: datetime | None = None
    """When it was warm for the first time since it was created or remade."""
    delivered: bool = False
    """Whether the account exists: the vendor needs more time before the first post of one that does not."""
    era: int = 0
    """How often the account was remade."""
    ban: Key | None = None
    """The greatest ban in force."""
    warming_failure: Key | None = None
    """The greatest failure of warming since the last remake."""
    newest: Key | None = None
    """The greatest fact."""
    slots: Slots | None = None
    """Of videos, as TokPortal counted them last; None where it never did."""
    full_days: tuple[str, ...] = ()
    """Days for which TokPortal takes no further video, by its own word."""


def bundle_view(
    notes: Sequence[Note],
    accounts: Mapping[str, Sequence[Note]] | None = None,
    kin: Iterable[Sequence[Note]] = (),
    steps: Sequence[Step] = (),
) -> BundleView:
    """The state of the bundle with `notes` and `steps`.

    `accounts` holds the notes of every account that the bundle ever had; `kin` the notes of every other bundle that
    ever had one of them.
    """
    accounts = accounts or {}
    eras = Eras(notes, accounts)
    evidence = list(notes)
    facts = [note for note in notes if note.name != "BundleMentioned"]
    for account in eras.names():
        spoken = [note for note in accounts.get(account, ()) if eras.account_at(note.key) == account]
        evidence += spoken
        facts += spoken
    named = [note for note in facts if note.name not in NO_FACTS]
    for other in kin:
        theirs = Eras(other, accounts)
        facts += [
            note
            for note in other
            if note.name in ACCOUNT_WIDE
            and (account_then := theirs.account_at(note.key)) is not None
            and eras.account_at(note.key) == account_then
        ]

    remake = eras.last_remake
    told: dict[str, list[Note]] = {}
    for note in facts:
        if remake is None or note.key > remake.key:
            told.setdefault(note.name, []).append(note)
    facts = [note for note in facts if note.name not in NO_FACTS]
    since = spoken_life(told)
    state, state_since = _state(since, remake)
    warmed = _warmed(since)
    # Account-wide facts of other bundles count for the account; whom to review is the bundle that was named.
    asking = [note for note in named if remake is None or note.key > remake.key]
    holds = tuple(sorted(_holds(since) | _own_holds(steps, asking)))
    bans = _bans(since)
    warmings = [note.occurred_at for note in since.get("WarmingCompleted", ())]
    failures = [note.key for note in since.get("WarmingFailed", ())]
    country, countries = _smallest(evidence, "country")
    platform, platforms = _smallest(evidence, "platform")
    flags = []
    if countries > 1:
        flags.append("country_contradiction")
    if platforms > 1:
        flags.append("platform_contradiction")
    if eras.contradicted:
        flags.append("account_contradiction")
    if "DistributionWarned" in since:
        flags.append("distribution_warning")
    introduced = [note for note in facts if note.detail.get("username")]
    return BundleView(
        platform=platform,
        country=country,
        state=state,
        state_since=state_since,
        warmed=warmed,
        postable=warmed and not holds and state not in ("unknown", "failed", "banned"),
        holds=holds,
        flags=tuple(flags),
        username=max(introduced, key=lambda note: note.key).detail["username"] if introduced else None,
        saved_account_id=eras.current,
        last_error=_last_error(facts),
        last_event_at=max((note.occurred_at for note in facts), default=None),
        warmed_at=min(warmings) if warmed else None,
        delivered=eras.current is not None or any(name in since for name in DELIVERED),
        era=len(eras.remakes),
        ban=max(bans) if bans else None,
        warming_failure=max(failures, default=None),
        newest=max((note.key for note in facts), default=None),
        slots=_slots(steps),
        full_days=tuple(sorted({step.detail["day"] for step in steps if step.name == "DayFilled"})),
    )


def _slots(steps: Sequence[Step]) -> Slots | None:
    counted = next((step.detail for step in reversed(steps) if step.name == "SlotsCounted"), None)
    if counted is None:
        return None
    return Slots(counted["total"], counted["free"], datetime.fromisoformat(counted["at"]), counted.get("code"))


def _state(since: Mapping[str, Sequence[Note]], remake: Note | None) -> tuple[str, datetime | None]:
    """`since`: the facts since the last remake, by name."""
    if bans := _bans(since):
        return "banned", min(bans)[0]
    last: Note | None = None
    for name in LIFECYCLE:
        for note in since.get(name, ()):
            if name == "BundleReady" and note.dialect in (PUBLIC, API) and _warming_before(since, note.key):
                continue
            if last is None or note.key > last.key:
                last = note
    if last is not None:
        return LIFECYCLE[last.name], last.occurred_at
    if remake is not None:
        return "created", remake.occurred_at
    return "unknown", None


def _bans(since: Mapping[str, Sequence[Note]]) -> list[Key]:
    """The bans that nobody lifted."""
    lifted = max((note.key for note in since.get("Reinstated", ())), default=None)
    return [note.key for note in since.get("BundleBanned", ()) if lifted is None or note.key > lifted]


def _warming_before(since: Mapping[str, Sequence[Note]], key: Key) -> bool:
    return any(note.key < key for name in WARMING for note in since.get(name, ()))


def _warmed(since: Mapping[str, Sequence[Note]]) -> bool:
    def newest(name: str) -> Key | None:
        return max((note.key for note in since.get(name, ())), default=None)

    completed = newest("WarmingCompleted")
    if completed is None:
        return False
    failed, created = newest("WarmingFailed"), newest("BundleCreated")
    return (failed is None or failed < completed) and (created is None or created < completed)


def _holds(since: Mapping[str, Sequence[Note]]) -> set[str]:
    holds: set[str] = set()
    for hold, setting in HOLDS.items():
        set_at = max((note.occurred_at for name in setting for note in since.get(name, ())), default=None)
        if set_at is None:
            continue
        lifting = [note for name in LIFTS[hold] for note in since.get(name, ())]
        lifted_at = max(
            (n.occurred_at for n in lifting if n.name != "AppealResolved" or n.detail.get("outcome") == "accepted"),
            default=None,
        )
        if lifted_at is None or set_at >= lifted_at:
            holds.add(hold)
    revealed = since.get("AccountRevealed", ())
    if "CoverageEnded" in since or any(note.detail.get("management_ended") is True for note in revealed):
        holds.add("closed")
    return holds


def _own_holds(steps: Iterable[Step], asking: Iterable[Note]) -> set[str]:
    """The holds that people and policies set; `asking` are the facts that may ask for a review themselves."""
    holds: set[str] = set()
    answered: Key | None = None
    for step in steps:
        if step.name == "BundlePaused":
            holds.add("paused")
        elif step.name == "BundleResumed":
            holds.discard("paused")
        elif step.name == "ReviewRequested":
            holds.add("needs_review")
        elif step.name == "Reviewed":
            holds.discard("needs_review")
            answered = read_key(step.detail["up_to"]) if step.detail["up_to"] is not None else answered
    # The outcome of the newest appeal may be one that cannot be read.
    resolved = [note for note in asking if note.name == "AppealResolved"]
    newest = max(resolved, key=lambda note: note.key, default=None)
    if newest is not None and newest.detail.get("outcome") is None and (answered is None or newest.key > answered):
        holds.add("needs_review")
    return holds


def _smallest(evidence: Iterable[Note], name: str) -> tuple[str | None, int]:
    """The value of the smallest fact that has one, and how many different values there are."""
    values = [(note.key, value) for note in evidence if (value := getattr(note, name)) is not None]
    return (min(values)[1] if values else None), len({value for _, value in values})


def _last_error(facts: Iterable[Note]) -> dict[str, str | None] | None:
    failures = [note for note in facts if note.name in ("WarmingFailed", "BundleBanned")]
    if not failures:
        return None
    last = max(failures, key=lambda note: note.key)
    code = "banned" if last.name == "BundleBanned" else last.detail.get("code")
    return {"code": code, "message": last.detail.get("reason")}
