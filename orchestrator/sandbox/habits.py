"""How the people and machines of this TokPortal behave: none of it is documented, so all of it can be set."""

from __future__ import annotations

from typing import Literal

import msgspec

from orchestrator.sandbox.dialects import Wording

HOUR = 3_600.0
DAY = 86_400.0

Span = tuple[float, float]
"""Between how many and how many seconds of the world something takes; drawn by chance."""


_FAILURE_CODES = {
    "network_error": 4.0,
    "upload_timeout": 3.0,
    "login_required": 2.0,
    "content_violation": 1.0,
    "copyright_claim": 1.0,
}


class Managing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Account managers. Shares go from 0 to 1."""

    accepts_bundle: Span = (2 * HOUR, 12 * HOUR)
    """After a bundle was published."""
    creates_account: Span = (1 * DAY, 2 * DAY)
    """From accepting a bundle until its account is in review."""
    corrects_account: Span = (4 * HOUR, 24 * HOUR)
    account_review: Literal["window", "at_once"] = "window"
    """`window`: an account is final when the review window of 72 h has passed (TokPortal's documentation), unless it
    is finalized before; `at_once`: as soon as it is delivered."""

    warming_starts: Span = (0.0, 2 * HOUR)
    """After the account is final and its terms are known."""
    warming_takes: Span = (2.5 * DAY, 3 * DAY)
    """TokPortal's documentation: the tasks are spread over 3 calendar days."""
    warming_fails: float = 0.0
    """Share of sessions. Only the article dialect has a word for it; in the public one such a session never ends."""

    accepts_video: Span = (0.5 * HOUR, 6 * HOUR)
    """After a slot was published on an account that is ready."""
    upload_takes: Span = (120.0, 900.0)
    posting_takes: Span = (30.0, 300.0)
    window_used: float = 1.0
    """In which share of a slot's window, from its beginning on, managers post."""
    in_review_is_told: Literal["always", "manual"] = "always"
    """Whether the public dialect reports `video.in_review` where reviews are automatic."""
    completes_bundles: bool = True
    """Whether a bundle is `completed` once all its slots are final or cancelled; it is open to further slots."""
    posts_late: bool = False
    """Whether a video whose window has passed before the account was ready is still posted."""
    misses: float = 0.01
    """Share of videos that are silently never posted."""
    fails: float = 0.05
    """Share of videos of which at least one try to post fails."""
    fails_for_good: float = 0.5
    """Share of those that are never posted: the last try fails, too."""
    tries: int = 3
    """Tries to post before a video is given up."""
    retries_after: Span = (600.0, 3_600.0)
    failure_codes: dict[str, float] = msgspec.field(default_factory=lambda: dict(_FAILURE_CODES))
    """Code and weight. What starts with `content_` or `copyright_` is final at once."""
    corrections_after_failure: Literal["auto", "always", "never"] = "auto"
    """Whether a video that was given up goes to `pending_corrections`, or stays `accepted` in silence; auto: in a world
    that speaks the article dialect always, else for rejected content only, since the public dialect has no other word
    for a failure."""
    corrects_video: Span = (2 * HOUR, 12 * HOUR)
    """From corrections that the client asked for until the post is in review again."""
    can_unschedule_uploading: bool = False
    """Whether a slot may be taken back while its video is being uploaded; else `INVALID_STATUS_TRANSITION`."""

    bans_per_account_year: float = 0.2
    appeals: float = 0.6
    """Share of bans that an appeal is lodged against."""
    appeal_takes: Span = (12 * HOUR, 72 * HOUR)
    appeals_won: float = 0.3
    refusal_is_resolved: bool = False
    """Whether `account.ban_appeal.resolved` is sent for a lost appeal, too, before `account.banned`."""
    resolution_takes: Span = (6 * HOUR, 48 * HOUR)
    """From a valid ban until staff decides between refund, remake and neither."""
    remakes: float = 0.3
    refunds: float = 0.3
    """Shares of valid bans."""
    lapses: float = 0.0
    """Share of coverage periods that end without a renewal."""
    reactivates_after: Span = (1 * DAY, 4 * DAY)
    """From a lapse until coverage is paid again."""

    metrics_after: tuple[float, ...] = (1 * HOUR, 1 * DAY, 3 * DAY, 7 * DAY)
    """When the article dialect reports a post's figures, from its posting on."""

    def __post_init__(self) -> None:
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a share from 0 to 1, not {getattr(self, name)}")
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name in _SPANS and not 0 <= value[0] <= value[1]:
                raise ValueError(f"{name} must be the shortest and the longest time in seconds, not {list(value)}")
        if any(weight <= 0 for weight in self.failure_codes.values()):
            raise ValueError("failure_codes must have weights above 0")
        if self.tries < 1 or self.bans_per_account_year < 0 or any(after < 0 for after in self.metrics_after):
            raise ValueError("tries must be at least 1, bans_per_account_year and metrics_after not below 0")


_SHARES = (
    "warming_fails",
    "misses",
    "fails",
    "fails_for_good",
    "appeals",
    "appeals_won",
    "remakes",
    "refunds",
    "lapses",
    "window_used",
)
_SPANS = frozenset(name for name, hint in Managing.__annotations__.items() if hint == "Span")


class Sending(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sender of webhooks."""

    retry_after: tuple[float, ...] = (60.0, 300.0, 1_800.0, 7_200.0, 21_600.0)
    """Seconds of the world until each further attempt; empty: one attempt only."""
    retry_pause: float = 0.25
    """Real seconds that pass before each further attempt at least, doubled each time: in a fast world all attempts
    would else be over before a receiver could start again."""
    timeout: float = 5.0
    """Real seconds."""
    success: tuple[int, int] = (200, 299)
    """Lowest and highest status that count as delivered."""
    concurrency: int = 16
    disable_after: int | None = None
    """An endpoint is switched off after so many deliveries in a row that failed for good; none: never."""
    plain_http: Literal["loopback", "never", "anywhere"] = "loopback"
    """Where an endpoint may be without HTTPS."""
    challenge: Literal["article", "always", "never"] = "article"
    """Which endpoints must echo a challenge before they are registered. None was seen in the public dialect."""
    wording: Wording = Wording()

    def __post_init__(self) -> None:
        if not 100 <= self.success[0] <= self.success[1] <= 599:
            raise ValueError("success must be the lowest and the highest status that count, such as [200, 299]")
        if any(seconds < 0 for seconds in (*self.retry_after, self.retry_pause)):
            raise ValueError("retry_after and retry_pause must not be below 0")
        if self.timeout <= 0 or self.concurrency < 1 or (self.disable_after is not None and self.disable_after < 1):
            raise ValueError("timeout must be above 0, concurrency and disable_after at least 1")


class Habits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    managers: Managing = Managing()
    webhooks: Sending = Sending()
