"""What really happened at TokPortal, as the sandbox remembers it, reduced to what a soak asks about."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.sandbox.coverage import status_of
from orchestrator.sandbox.diary import Post
from orchestrator.sandbox.model import (
    CLOSED_BUNDLES,
    LIVE_SLOTS,
    Ban,
    Bundle,
    Coverage,
    Effect,
    SavedAccount,
    Slot,
    Violation,
    WarmingSession,
)
from orchestrator.sandbox.world import World
from orchestrator.simulate.dialect import Dialect


@dataclass(frozen=True)
class Posted:
    """A post on the platform; `ref` is the reference that its slot carried: the id of a video of ours."""

    ref: str
    bundle_id: str
    account: str | None
    at: int
    url: str


@dataclass(frozen=True)
class Carried:
    """A slot that carries a video, on an account that is not banned and in a bundle that is not closed."""

    ref: str
    bundle_id: str
    position: int
    status: str


@dataclass(frozen=True)
class Done:
    """A write that took effect."""

    operation: str
    key: str | None
    ref: str | None
    bundle_id: str | None
    position: int | None
    credits: int


@dataclass(frozen=True)
class Account:
    """A bundle and the account in it, as they are at the end."""

    bundle_id: str
    account: str | None
    is_banned: bool = False
    is_closed: bool = False
    is_appealed: bool = False
    is_covered: bool | None = True
    """None: this world's webhooks have no word for it, and nobody can know."""
    is_delivered: bool = True
    is_warmed: bool = True
    slots: tuple[int, int] = (0, 0)
    """How many there are, and how many of them are pending."""


@dataclass
class Truth:
    posts: list[Posted] = field(default_factory=list)
    carried: list[Carried] = field(default_factory=list)
    effects: list[Done] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    banned: set[str] = field(default_factory=set)
    """Every account that was banned at any time."""
    violations: list[str] = field(default_factory=list)
    requests: int = 0
    rate_limited: int = 0
    """Requests that were refused because there were too many, not counting those that were to fail."""


def truth_of(world: World) -> Truth:
    banned = {account.id for account in world.all(SavedAccount) if account.banned}
    now = world.now()
    return Truth(
        posts=[
            Posted(post.external_ref, post.bundle_id, post.saved_account_id, post.at, post.url)
            for post in world.all(Post)
            if post.external_ref is not None
        ],
        carried=[
            Carried(slot.external_ref, slot.bundle_id, slot.position, slot.status)
            for slot in world.all(Slot)
            if slot.external_ref is not None and _may_post(slot) and _is_alive(world, slot.bundle_id)
        ],
        effects=[
            Done(
                effect.operation,
                effect.idempotency_key,
                effect.external_ref,
                effect.bundle_id,
                effect.position,
                effect.credits,
            )
            for effect in world.all(Effect)
        ],
        accounts=[_account(world, bundle, now) for bundle in world.bundles()],
        banned=banned | {ban.saved_account_id for ban in world.all(Ban) if ban.status != "appeal_accepted"},
        violations=[f"{violation.code}: {violation.message}" for violation in world.all(Violation)],
        requests=world.counters.get("requests", 0),
        rate_limited=world.counters.get("rate_limited", 0),
    )


def _may_post(slot: Slot) -> bool:
    """Whether it posts the video, or has. One that was given back after a failure posts nothing by itself."""
    return slot.status in LIVE_SLOTS and (slot.status != "pending_corrections" or slot.posted_at is not None)


def _is_alive(world: World, bundle_id: str) -> bool:
    bundle = world.bundle(bundle_id)
    if bundle is None or bundle.status in CLOSED_BUNDLES:
        return False
    account = world.saved_account_of(bundle)
    return account is None or not account.banned


def _account(world: World, bundle: Bundle, now: int) -> Account:
    account = world.saved_account_of(bundle)
    listing = world.listing_of(bundle)
    sessions: list[WarmingSession] = [] if account is None else world.sessions_of(account.id)
    coverage = None if account is None else world.find(Coverage, account.id)
    bans = [] if account is None else world.bans_of(account.id)
    slots = world.slots_of(bundle)
    is_mute = world.parameters.webhook_dialect == Dialect.ARTICLE
    return Account(
        bundle.id,
        bundle.saved_account_id,
        is_banned=account is not None and account.banned,
        is_closed=bundle.status in CLOSED_BUNDLES,
        is_appealed=any(ban.status == "appeal_pending" for ban in bans),
        is_covered=None if is_mute else coverage is None or status_of(coverage, now)[1],
        is_delivered=account is not None and (listing is None or listing.status == "finalized"),
        is_warmed=any(session.status == "completed" for session in sessions),
        slots=(len([slot for slot in slots if slot.status != "cancelled"]), sum(s.status == "pending" for s in slots)),
    )
