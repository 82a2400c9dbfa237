"""What a sandbox world consists of. Every time is in microseconds since 1970 on the world's clock."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

Json = dict[str, Any]

DAY = 86_400_000_000
"""Microseconds in a day of 24 hours."""

LIVE_SLOTS = frozenset(
    {"configured", "published", "accepted", "in_review", "pending_corrections", "finalized"},
)
"""Statuses of a slot that carries a video: one that will be, is or was posted."""

POSTED_SLOTS = frozenset({"in_review", "finalized", "pending_corrections"})
"""Statuses in which a slot may show a post on the platform."""

CLOSED_BUNDLES = frozenset({"cancelled", "archived"})


class Row(msgspec.Struct, kw_only=True):
    """Something of the world with an id. Whoever changes one calls `World.put` with it, so that it is written."""

    kind: ClassVar[str] = ""

    id: str


class Bundle(Row, kw_only=True):
    """One account plus video slots. `account_id` is its listing, `saved_account_id` the delivered account."""

    kind: ClassVar[str] = "bundle"

    title: str = ""
    bundle_type: str = "account_and_videos"
    """account_only, account_and_videos or videos_only."""
    platform: str = "tiktok"
    country: str = "USA"
    """In the vendor's code, as `GET /countries` lists it."""
    status: str = "pending_setup"
    """draft, pending_setup, published, published_priority, accepted, completed, cancelled or archived."""
    external_ref: str | None = None
    account_id: str | None = None
    """The id of its `Listing`; none for videos_only, which posts on an account that exists."""
    saved_account_id: str | None = None
    auto_finalize_videos: bool = True
    videos_quantity: int = 0
    """Video slots bought, cancelled ones included."""
    edits_quantity: int = 0
    warming_targets: int = 0
    """Advanced warming targets that were bought with the bundle."""
    warming_terms: list[str] = []
    """The bought targets once they are worded; one shot."""
    created_at: int = 0
    updated_at: int = 0
    published_at: int | None = None
    accepted_at: int | None = None
    cancelled_at: int | None = None
    adopted: bool = False
    """A bundle that this sandbox never sold: it answers requests, and does nothing of its own."""


class Listing(Row, kw_only=True):
    """The account inside a bundle, from its profile to its delivery. Keeps its id across remakes."""

    kind: ClassVar[str] = "listing"

    bundle_id: str
    status: str = "pending"
    """pending, configured, published, in_review, pending_corrections or finalized."""
    username: str | None = None
    visible_name: str | None = None
    biography: str | None = None
    profile_picture_url: str | None = None
    link_in_bio: str | None = None
    saved_account_id: str | None = None
    in_review_at: int | None = None
    finalized_at: int | None = None
    corrections: Json | None = None
    """The last corrections asked for: `comment` and `fields`."""


class SavedAccount(Row, kw_only=True):
    """A delivered account: a social media profile under the care of an account manager."""

    kind: ClassVar[str] = "saved_account"

    username: str
    platform: str
    country: str
    bundle_id: str
    """The bundle that it was made for."""
    banned: bool = False
    detached: bool = False
    """Credentials were revealed and management ended: no task runs on it any more."""
    adopted: bool = False
    """As with bundles: it answers requests, and is in no list."""
    analytics_refreshed_at: int | None = None
    created_at: int = 0
    banned_at: int | None = None


class Slot(Row, kw_only=True):
    """One video of a bundle. `id` is the vendor's video id; `position` counts from 1 within the bundle."""

    kind: ClassVar[str] = "slot"

    bundle_id: str
    position: int
    status: str = "pending"
    """pending, configured, published, accepted, in_review, pending_corrections, finalized or cancelled."""
    external_ref: str | None = None
    name: str | None = None
    video_type: str | None = None
    """video, carousel or story."""
    description: str | None = None
    target_publish_date: str | None = None
    """YYYY-MM-DD, the first day of the window in which the manager posts."""
    target_publish_end_date: str | None = None
    """The last day of the window, derived."""
    content: Json = {}
    """The other members of the configuration, as they were sent."""
    platform_url: str | None = None
    posted_at: int | None = None
    configured_at: int | None = None
    published_at: int | None = None
    accepted_at: int | None = None
    in_review_at: int | None = None
    finalized_at: int | None = None
    corrections: Json | None = None
    error: Json | None = None
    """`code` and `message` of the last failure to post."""
    volume_paid: bool = False
    """The one-time price of mixing sounds is paid."""
    revision: int = 0
    """Grows whenever the slot gets other content, another day, or is emptied: tells whether a plan for it is stale."""


class Ban(Row, kw_only=True):
    """A row of `GET /account-bans`: a report that staff or a manager validated."""

    kind: ClassVar[str] = "ban"

    saved_account_id: str
    bundle_id: str | None
    username: str
    platform: str
    status: str
    """appeal_pending, appeal_accepted, appeal_refused or no_appeal_banned."""
    reason: str | None = None
    reported_at: int = 0
    decided_at: int | None = None
    updated_at: int = 0
    """What `since` compares with."""
    resolution: str = "pending"
    """pending, refund, remake or no_remake."""
    reason_code: str | None = None
    refund_credits: int = 0
    resolved_at: int | None = None


class WarmingTerm(msgspec.Struct, kw_only=True):
    term: str
    verified_at: int | None = None


class WarmingSession(Row, kw_only=True):
    """Search terms that a manager works through on an account."""

    kind: ClassVar[str] = "warming_session"

    bundle_id: str | None
    saved_account_id: str | None
    """None until the account it was bought with is delivered."""
    status: str = "pending"
    """pending, active, completed or cancelled: the vendor's own words are not documented."""
    bought_with_bundle: bool = False
    targets: int = 0
    """Targets paid for."""
    terms: list[WarmingTerm] = []
    created_at: int = 0
    started_at: int | None = None
    completed_at: int | None = None


class Coverage(Row, kw_only=True):
    """The managed subscription of a saved account; `id` is the saved account's id."""

    kind: ClassVar[str] = "coverage"

    recorded_status: str = "included"
    """included, active, lapsed, cancelled or ended; may lag behind `current_period_end`, which decides."""
    current_period_end: int = 0
    lock_version: int = 1
    auto_renew: bool = True


class Endpoint(Row, kw_only=True):
    """A webhook endpoint."""

    kind: ClassVar[str] = "endpoint"

    url: str
    events: list[str] = []
    """Event types; empty: all."""
    description: str | None = None
    enabled: bool = True
    signing_secret: str = ""
    dialect: str = "2026-05-25"
    """`2026-05-25` or `article`: whom this endpoint listens as."""
    failed_in_a_row: int = 0
    """Deliveries that failed for good since the last that arrived."""
    created_at: int = 0
    updated_at: int = 0


class Delivery(Row, kw_only=True):
    """An event on its way to one endpoint, with what came of the last attempt."""

    kind: ClassVar[str] = "delivery"

    endpoint_id: str
    event_id: str
    event_type: str
    body: str
    """The exact JSON; a retry sends it again with a fresh signature."""
    success: bool = False
    status_code: int | None = None
    error: str | None = None
    attempts: int = 0
    created_at: int = 0
    last_attempt_at: int | None = None
    next_attempt_at: int | None = None


class Credits(Row, kw_only=True):
    """The workspace's purse; there is one, with id `credits`."""

    kind: ClassVar[str] = "credits"

    balance: int = 0


class CreditEntry(Row, kw_only=True):
    """A line of `GET /credits/history`: `amount` is negative for a charge."""

    kind: ClassVar[str] = "credit_entry"

    at: int
    amount: int
    balance: int
    operation: str
    bundle_id: str | None = None
    saved_account_id: str | None = None


class IdempotencyRecord(Row, kw_only=True):
    """The answer that a key got; `id` is API key and idempotency key."""

    kind: ClassVar[str] = "idempotency"

    request: str
    """SHA-256 of method, path and body."""
    status: int
    body: str
    at: int


class Effect(Row, kw_only=True):
    """A write that took effect. What a soak counts: one key or one command must never have two."""

    kind: ClassVar[str] = "effect"

    at: int
    operation: str
    """The vendor's operation id, as `configureBundleVideo`."""
    request: int
    """The number of the request that had this effect: a batch has one effect per position."""
    idempotency_key: str | None = None
    external_ref: str | None = None
    bundle_id: str | None = None
    saved_account_id: str | None = None
    position: int | None = None
    credits: int = 0


class Violation(Row, kw_only=True):
    """Something that a well-behaved orchestrator never does."""

    kind: ClassVar[str] = "violation"

    at: int
    code: str
    message: str


class Due(Row, kw_only=True):
    """An action that is to happen at a moment."""

    kind: ClassVar[str] = "due"

    at: int
    action: str
    args: Json = {}


class Meta(Row, kw_only=True):
    """What makes a world the same after a restart; there is one, with id `world`."""

    kind: ClassVar[str] = "meta"

    seed: int
    counters: dict[str, int] = {}


KINDS: tuple[type[Row], ...] = (
    Bundle, Listing, SavedAccount, Slot, Ban, WarmingSession, Coverage, Endpoint, Delivery, Credits, CreditEntry,
    IdempotencyRecord, Effect, Violation, Due, Meta,
)  # fmt: skip
