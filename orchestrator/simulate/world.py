from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any

from orchestrator.simulate.dialect import Dialect
from orchestrator.simulate.events import FAILURES, Account, Message, Video, build, post_url

COUNTRIES: tuple[str, ...] = ("US", "GB", "FR", "DE", "ES", "IT", "CA", "BR")
PLATFORMS: tuple[str, ...] = ("tiktok", "tiktok", "instagram")

_Step = tuple[str, Video, dict[str, Any]]
_NO_VIDEO = Video("", 0, "")
_MAX_TRIES = 3


class World(Iterator[Message]):
    """An endless stream of messages over `bundles` accounts and their videos, each account in causal order.

    Equal arguments give equal bytes. Ids carry a tag made of `seed` and `start`, so that a later run speaks of accounts
    of its own. `step` passes between two messages, so no two times are equal. `failures` is the share of videos that
    never get posted: `video.post_failed` in the article dialect, `video.pending_corrections` or silence in the public
    one, which names no failure. `bans` is the chance of a ban after each video. A banned account is replaced by a new
    bundle in the article dialect and remade in the public one. Memory grows with `bundles` only.
    """

    def __init__(
        self,
        dialect: Dialect,
        *,
        start: datetime,
        bundles: int = 100,
        seed: int = 0,
        failures: float = 0.05,
        bans: float = 0.01,
        step: timedelta = timedelta(milliseconds=1),
    ) -> None:
        self._dialect = dialect
        self._random = Random(seed)
        self._failures = failures
        self._bans = bans
        self._at = start
        self._step = step
        self._tag = sha256(f"{dialect}/{seed}/{start.timestamp()}".encode()).hexdigest()[:8]
        self._sent = self._opened = self._videos = self._saved = 0
        life = self._article_life if dialect is Dialect.ARTICLE else self._public_life
        self._accounts = [self._open(COUNTRIES[number % len(COUNTRIES)]) for number in range(bundles)]
        self._lives = [life(account) for account in self._accounts]

    def __next__(self) -> Message:
        number = int(self._random.random() * len(self._accounts))
        type, video, data = next(self._lives[number])
        self._sent += 1
        self._at += self._step
        return build(
            self._dialect,
            type,
            event_id=f"evt_{self._tag}{self._sent:024x}",
            at=self._at,
            account=self._accounts[number],
            video=video,
            random=self._random,
            data=data,
        )

    def _article_life(self, account: Account) -> Iterator[_Step]:
        while True:
            yield "bundle.created", _NO_VIDEO, {}
            yield "bundle.ready", _NO_VIDEO, {}
            yield "bundle.warming_started", _NO_VIDEO, {}
            while self._happens(self._failures / 2):
                yield "bundle.warming_failed", _NO_VIDEO, {}
                yield "bundle.warming_started", _NO_VIDEO, {}
            yield "bundle.warming_completed", _NO_VIDEO, {}
            position = 0
            posted: deque[Video] = deque(maxlen=3)
            while True:
                position += 1
                yield from self._article_video(self._film(account, position), posted)
                if self._happens(self._bans):
                    break
            yield "bundle.banned", _NO_VIDEO, {}
            self._renew(account)

    def _article_video(self, video: Video, posted: deque[Video]) -> Iterator[_Step]:
        doomed = self._happens(self._failures)
        failing = self._random.randint(1, _MAX_TRIES) if doomed else int(self._happens(self._failures / 2))
        for attempt in range(1, failing + 1):
            yield from self._upload(video)
            code, message = self._random.choice(FAILURES)
            again = attempt < failing or not doomed
            retry = {"attempt": attempt, "max_attempts": _MAX_TRIES, "will_retry": again}
            yield "video.post_failed", video, {"error_code": code, "message": message, "retry": retry}
        if not doomed:
            yield from self._upload(video)
            yield "video.posted", video, {}
            posted.append(video)
        if posted and self._happens(0.5):
            yield "video.analytics_updated", self._random.choice(posted), {}

    def _upload(self, video: Video) -> Iterator[_Step]:
        yield "video.upload_started", video, {}
        yield "video.upload_completed", video, {}

    def _public_life(self, account: Account) -> Iterator[_Step]:
        yield "bundle.created", _NO_VIDEO, {}
        yield "bundle.published", _NO_VIDEO, {}
        position = 0
        while True:
            yield from self._public_setup(account)
            while True:
                position += 1
                yield from self._public_video(self._film(account, position))
                yield from self._public_weather()
                if self._happens(self._bans):
                    break
            yield "account.banned", _NO_VIDEO, {}
            yield "bundle.cancelled", _NO_VIDEO, {}
            yield "account.ban_resolution.decided", _NO_VIDEO, {}
            account.saved_account_id = self._save()
            yield "account.remade", _NO_VIDEO, {}

    def _public_setup(self, account: Account) -> Iterator[_Step]:
        yield "account.configured", _NO_VIDEO, {}
        yield "account.published", _NO_VIDEO, {}
        if account.saved_account_id is None:
            account.saved_account_id = self._save()
        yield "account.in_review", _NO_VIDEO, {}
        if self._happens(self._failures):
            yield "account.pending_corrections", _NO_VIDEO, {}
            yield "account.in_review", _NO_VIDEO, {"previous_status": "pending_corrections"}
        yield "account.finalized", _NO_VIDEO, {}
        yield "warming.session_started", _NO_VIDEO, {}
        for verified in (1, 2, 3):
            yield "warming.term_verified", _NO_VIDEO, {"terms_verified": verified}
        yield "warming.session_completed", _NO_VIDEO, {}

    def _public_video(self, video: Video) -> Iterator[_Step]:
        yield "video.configured", video, {}
        yield "video.published", video, {}
        if self._happens(self._failures):
            if self._happens(0.5):
                yield "video.in_review", video, {"platform_url": None}
                yield "video.pending_corrections", video, {"platform_url": None}
            return
        yield "video.in_review", video, {}
        yield "video.finalized", video, {}
        if self._happens(0.02):
            flag = self._random.choice(("video.not_recommended", "video.ai_labeled", "video.sound_restricted"))
            yield flag, video, {}

    def _public_weather(self) -> Iterator[_Step]:
        chance = self._random.random()
        if chance < 0.05:
            yield "subscription.renewed", _NO_VIDEO, {}
        elif chance < 0.06:
            yield "subscription.lapsed", _NO_VIDEO, {}
            yield "subscription.reactivated", _NO_VIDEO, {}
        elif chance < 0.07:
            yield "account.ban_appeal.submitted", _NO_VIDEO, {}
            yield "account.ban_appeal.resolved", _NO_VIDEO, {}

    def _happens(self, share: float) -> bool:
        return self._random.random() < share

    def _open(self, country: str) -> Account:
        self._opened += 1
        name = f"{country.lower()}_{self._opened}"
        return Account(
            bundle_id=f"bdl_{self._tag}_{name}",
            account_id=f"acc_{self._tag}_{name}",
            username=f"acme.{country.lower()}.{self._opened}",
            platform=self._random.choice(PLATFORMS),
            country=country,
        )

    def _renew(self, account: Account) -> None:
        other = self._open(account.country)
        account.bundle_id, account.account_id = other.bundle_id, other.account_id
        account.username, account.platform = other.username, other.platform

    def _save(self) -> str:
        self._saved += 1
        return f"sav_{self._tag}_{self._saved}"

    def _film(self, account: Account, position: int) -> Video:
        self._videos += 1
        return Video(f"vid_{self._tag}_{self._videos}", position, post_url(account, self._random))
