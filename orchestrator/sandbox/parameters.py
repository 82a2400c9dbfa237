"""What the vendor has documented as numbers, and what it has not documented at all."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from orchestrator.simulate.wire import COUNTRY_CODES

_COUNTRIES = {
    "USA": "United States", "UK": "United Kingdom", "FR": "France", "DE": "Germany", "ES": "Spain", "IT": "Italy",
    "CA": "Canada", "BR": "Brazil", "MX": "Mexico", "PH": "Philippines", "NL": "Netherlands", "PL": "Poland",
    "PT": "Portugal", "SE": "Sweden", "NO": "Norway", "AU": "Australia", "JP": "Japan", "IN": "India",
}  # fmt: skip


class Prices(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """In credits (TokPortal's documentation, standard price list)."""

    account_creation: int = 32
    video_upload: int = 2
    video_edit: int = 3
    advanced_warming: int = 5
    """A search term."""
    coverage: int = 25
    """30 days of the managed subscription."""
    sound_volume: int = 1
    """Once per video."""
    story_repost: int = 1


class Parameters(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How this TokPortal behaves. Where TokPortal's documentation speaks, the default is what it says."""

    key_pattern: str = "sk_[0-9a-f]{64}"
    """Which API keys are let in; a key is checked against nothing else."""
    revoked_keys: list[str] = []

    rate_capacity: int = 120
    rate_refill: float = 2.0
    """Requests a second, of the world's time."""
    cooldown_capacity: int = 500
    """Bundles created or published within `cooldown_window`; the vendor shows no counter."""
    cooldown_window: int = 3600
    """Seconds."""

    idempotency_retention: int = 86400
    """Seconds; not documented."""
    idempotency_conflict_status: int = 409
    idempotency_conflict_code: str = "IDEMPOTENCY_KEY_CONFLICT"
    """What another body under a used key gets; neither is documented."""
    idempotency_keeps_errors: bool = False
    """Whether an answer of 400 and above is replayed too; not documented."""

    prices: Prices = Prices()
    credits: int = 1_000_000
    """The purse at the beginning of the world."""

    countries: dict[str, str] = msgspec.field(default_factory=_COUNTRIES.copy)
    """Code and name, as `GET /countries` lists them."""
    country_aliases: dict[str, str] = msgspec.field(default_factory=lambda: dict(COUNTRY_CODES))
    videos_only_countries: list[str] = []
    """Countries in which no new account is sold."""

    initial_bundle_status: str = "pending_setup"
    """pending_setup or draft: TokPortal's pages contradict each other."""
    create_answers_id: bool = True
    """Whether a created bundle's answer has `id` beside `bundle_id`: the pages contradict each other."""
    duplicate_refs: bool = False
    """Whether several bundles with an account may have one `external_ref`."""

    publish_zone: str = "UTC"
    """The time zone of target days and of the daily cap; not documented."""
    lead_days_new: int = 3
    lead_days_existing: int = 1
    videos_per_day: int = 3
    window_days: int = 2
    review_hours: int = 72

    account_required: tuple[str, ...] = ("username", "visible_name")
    """Members of the account profile without which a bundle cannot be published; not documented."""
    configure_from: tuple[str, ...] = ("pending", "configured", "published", "pending_corrections")
    """Statuses in which a slot takes another content; not documented."""
    unschedule_from: tuple[str, ...] = ("configured", "published")
    unschedule_to: str = "pending"
    """pending (the slot is empty), configured (it keeps its content and loses its day) or cancelled; undocumented."""
    release_in_closed_bundles: bool = True
    """Whether a slot of a cancelled or archived bundle can be unscheduled and reset; not documented."""
    reset_from: tuple[str, ...] = ("configured", "published", "accepted", "pending_corrections")
    reset_to: str = "pending"

    rejected_terms: tuple[str, ...] = ()
    """Words that no warming term may contain; what the vendor rejects is not documented."""
    warming_platforms: tuple[str, ...] = ("tiktok", "instagram")
    webhook_dialect: str = "2026-05-25"
    """What new endpoints are sent: 2026-05-25 or article."""
    analytics_hours: int = 6
    """How old a stored snapshot of analytics gets; not documented."""
    refresh_hours: int = 48
    """Between two refreshes of an account's analytics on request; not confirmed."""

    quote_changed_code: str = "MANAGED_SUBSCRIPTION_QUOTE_CHANGED"
    """What a reactivation with another quote gets; not documented."""
    subscription_ended_code: str = "MANAGED_SUBSCRIPTION_ENDED"
    """What the reactivation of an ended subscription gets; not documented."""
    coverage_days: int = 30
    coverage_auto_renews: bool = True
    """Whether a write on an account whose period is over renews it first, at its price."""

    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.publish_zone)

    def __post_init__(self) -> None:
        states = {"pending", "configured", "cancelled"}
        if self.unschedule_to not in states or self.reset_to not in states:
            raise ValueError(f"unschedule_to and reset_to must each be one of {', '.join(sorted(states))}")
        if self.rate_capacity < 1 or self.rate_refill <= 0:
            raise ValueError("rate_capacity must be at least 1 and rate_refill above 0")
        try:
            self.zone()
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"publish_zone {self.publish_zone!r} is no time zone, as Europe/Paris is") from None
