"""From a published slot to a post."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from random import Random
from typing import Final, Literal

import msgspec

from orchestrator.sandbox.dialects import News
from orchestrator.sandbox.diary import Post, Work
from orchestrator.sandbox.managers.office import SECOND, Office
from orchestrator.sandbox.metrics import figures_at
from orchestrator.sandbox.model import Bundle, Slot
from orchestrator.simulate.dialect import Dialect

_HOUR: Final = 3_600 * SECOND
_FINAL_CODES: Final = ("content_", "copyright_")
_CLOSING: Final = 2 * _HOUR
"""Nobody begins to post in the last two hours of a window."""
_RETRYING: Final = 12 * _HOUR
"""How long after its window a video that failed may still be tried again."""
_AT_ONCE: Final = SECOND
_DONE: Final = frozenset({"finalized", "cancelled"})
_UPLOADING: Final = frozenset({"uploading", "uploaded"})
_MESSAGES: Final = {
    "network_error": "The upload did not go through",
    "upload_timeout": "The upload did not finish in time",
    "login_required": "The platform asked for a new login",
    "content_violation": "The platform rejected the content",
    "copyright_claim": "The sound is claimed by its owner",
}


class Posting:
    """Accepts slots, uploads and posts their videos inside their window, fails with reasons or in silence.

    What becomes of a slot is settled by seed, slot and revision; a slot that is taken back in time, or whose account
    cannot post any more, is not posted.
    """

    def __init__(self, office: Office) -> None:
        self._office = office
        self._world = office.world
        for action, handler in (
            ("accept_video", self._accept),
            ("upload_video", self._upload),
            ("complete_upload", self._complete),
            ("post_video", self._post),
            ("fail_video", self._fail),
        ):
            office.world.on(action, handler)
        office.world.on("finalize_video", self._finalize)
        office.world.on("correct_video", self._correct)
        office.world.on("report_metrics", self._report_metrics)

    # What others tell

    def attend(self, slot: Slot) -> None:
        """Something about the slot or its account changed: plan anew what comes next."""
        work = self._work(slot)
        bundle = self._world.get(Bundle, slot.bundle_id)
        ready = self._office.ready_since(bundle)
        if work.stage in _UPLOADING and slot.status == "accepted" and ready is not None:
            return
        if work.due_id is not None:
            self._world.cancel(work.due_id)
            work.due_id = None
            self._world.put(work)
        if ready is None:
            if work.stage in _UPLOADING:
                work.stage = "accepted"
                self._world.put(work)
            return
        if slot.status == "published":
            pause = self._office.draw(self._office.habits.accepts_video, "accept", slot.id, slot.revision)
            self._next(slot, work, max(slot.published_at or 0, ready) + pause, "accept_video")
        elif slot.status == "accepted" and work.stage == "accepted":
            self._plan_upload(slot, work)

    def attend_all(self, bundle: Bundle) -> None:
        for slot in self._world.slots_of(bundle):
            if slot.status in ("published", "accepted"):
                self.attend(slot)

    def is_uploading(self, slot: Slot) -> bool:
        """Whether a manager has begun to post the slot's video and is not done yet."""
        work = self._world.find(Work, slot.id)
        is_current = work is not None and work.revision == slot.revision and slot.status == "accepted"
        return is_current and work is not None and work.stage in _UPLOADING

    def corrections_wanted(self, slot: Slot) -> None:
        since = self._world.now()
        pause = self._office.draw(self._office.habits.corrects_video, "correct", slot.id, since)
        self._world.at(since + pause, "correct_video", slot_id=slot.id, revision=slot.revision)

    # A manager's steps

    def _work(self, slot: Slot) -> Work:
        work = self._world.find(Work, slot.id)
        if work is not None and work.revision == slot.revision:
            return work
        if work is not None and work.due_id is not None:
            self._world.cancel(work.due_id)
        stage: Literal["offered", "accepted"] = "accepted" if slot.status == "accepted" else "offered"
        work = Work(id=slot.id, revision=slot.revision, stage=stage)
        self._world.put(work)
        return work

    def _next(self, slot: Slot, work: Work, at: int, action: str) -> None:
        work.due_id = self._world.at(max(at, self._world.now()), action, slot_id=slot.id, revision=slot.revision)
        self._world.put(work)

    def _current(self, slot_id: str, revision: int, status: str) -> tuple[Slot, Work, Bundle] | None:
        """The slot, if it is still what the step was planned for and its account can post."""
        slot = self._world.get(Slot, slot_id)
        bundle = self._world.get(Bundle, slot.bundle_id)
        if slot.revision != revision or slot.status != status or self._office.ready_since(bundle) is None:
            return None
        work = self._work(slot)
        work.due_id = None
        return slot, work, bundle

    def _accept(self, slot_id: str, revision: int) -> None:
        found = self._current(slot_id, revision, "published")
        if found is None:
            return
        slot, work, _ = found
        work.stage = "accepted"
        self._world.put(work)
        self._world.move_slot(slot, "accepted")
        self._plan_upload(slot, work)

    def _plan_upload(self, slot: Slot, work: Work) -> None:
        habits = self._office.habits
        if self._fate(slot, "misses").random() < habits.misses:
            self._miss(work)
            return
        at = self._world.now()
        if slot.target_publish_date is not None:
            first = date.fromisoformat(slot.target_publish_date)
            last = first + timedelta(days=self._world.parameters.window_days - 1)
            if slot.target_publish_end_date is not None:
                last = date.fromisoformat(slot.target_publish_end_date)
            opens, closes = self._midnight(first), self._midnight(last + timedelta(days=1))
            latest = max(opens, closes - _CLOSING)
            chosen = opens + int(self._fate(slot, "moment").random() * habits.window_used * (latest - opens))
            deadline = latest if work.attempt == 0 else closes + _RETRYING
            if at > deadline and not habits.posts_late:
                self._miss(work)
                return
            at = max(at, chosen)
        self._next(slot, work, at, "upload_video")

    def _miss(self, work: Work) -> None:
        work.stage = "missed"
        self._world.put(work)

    def _midnight(self, day: date) -> int:
        moment = datetime.combine(day, time(), self._world.parameters.zone())
        return int(moment.timestamp()) * SECOND

    def _upload(self, slot_id: str, revision: int) -> None:
        found = self._current(slot_id, revision, "accepted")
        if found is None:
            return
        slot, work, bundle = found
        work.stage = "uploading"
        work.attempt += 1
        takes = self._office.draw(self._office.habits.upload_takes, "upload", slot.id, revision, work.attempt)
        self._office.herald.report(News.UPLOAD_STARTED, bundle, slot)
        code = self._failure(slot, work.attempt)
        # What the platform rejects has been uploaded before; the rest breaks off.
        breaks_off = code is not None and not code.startswith(_FINAL_CODES)
        self._next(slot, work, self._world.now() + takes, "fail_video" if breaks_off else "complete_upload")

    def _complete(self, slot_id: str, revision: int) -> None:
        found = self._current(slot_id, revision, "accepted")
        if found is None:
            return
        slot, work, bundle = found
        work.stage = "uploaded"
        self._office.herald.report(News.UPLOAD_COMPLETED, bundle, slot)
        takes = self._office.draw(self._office.habits.posting_takes, "posting", slot.id, revision, work.attempt)
        fails = self._failure(slot, work.attempt) is not None
        self._next(slot, work, self._world.now() + takes, "fail_video" if fails else "post_video")

    def _post(self, slot_id: str, revision: int) -> None:
        found = self._current(slot_id, revision, "accepted")
        if found is None:
            return
        slot, work, bundle = found
        now = self._world.now()
        account = self._world.saved_account_of(bundle)
        username = account.username if account is not None else None
        work.stage = "posted"
        self._world.put(work)
        slot.platform_url = post_url(bundle.platform, username, self._fate(slot, "url"))
        slot.posted_at = now
        slot.error = None
        self._world.put(
            Post(
                id=f"{slot.id}/{revision}",
                at=now,
                bundle_id=bundle.id,
                video_id=slot.id,
                position=slot.position,
                external_ref=slot.external_ref,
                saved_account_id=bundle.saved_account_id,
                username=username,
                platform=bundle.platform,
                country=bundle.country,
                url=slot.platform_url,
                description=slot.description,
                media=slot.content.get("video_url"),
            )
        )
        self._show(slot, bundle)
        self._review(slot, bundle)
        for number, seconds in enumerate(self._office.habits.metrics_after):
            self._world.at(now + int(seconds * SECOND), "report_metrics", slot_id=slot.id, number=number)

    def _show(self, slot: Slot, bundle: Bundle) -> None:
        if bundle.auto_finalize_videos and self._office.habits.in_review_is_told == "manual":
            slot.status, slot.in_review_at = "in_review", self._world.now()
            self._world.put(slot)
            self._office.herald.report(News.POSTED, bundle, slot, only=Dialect.ARTICLE)
        else:
            self._world.move_slot(slot, "in_review", platform_url=slot.platform_url)

    def finalized(self, slot: Slot) -> None:
        """The slot is final; with the last one its bundle is completed."""
        bundle = self._world.get(Bundle, slot.bundle_id)
        is_done = all(slot.status in _DONE for slot in self._world.slots_of(bundle))
        if is_done and bundle.status == "accepted" and self._office.habits.completes_bundles:
            self._world.move_bundle(bundle, "completed")

    def _review(self, slot: Slot, bundle: Bundle) -> None:
        """TokPortal's documentation: every video is final after 72 h; with automatic review at once."""
        now = self._world.now()
        window = self._world.parameters.review_hours * _HOUR
        pause = _AT_ONCE if bundle.auto_finalize_videos else window
        self._world.at(now + pause, "finalize_video", slot_id=slot.id, since=now)

    def _finalize(self, slot_id: str, since: int) -> None:
        slot = self._world.get(Slot, slot_id)
        if slot.status == "in_review" and slot.in_review_at == since:
            self._world.move_slot(slot, "finalized", platform_url=slot.platform_url)

    def _correct(self, slot_id: str, revision: int) -> None:
        slot = self._world.get(Slot, slot_id)
        bundle = self._world.get(Bundle, slot.bundle_id)
        if slot.status == "pending_corrections" and slot.revision == revision and slot.posted_at is not None:
            self._world.move_slot(slot, "in_review", platform_url=slot.platform_url)
            self._review(slot, bundle)

    def _report_metrics(self, slot_id: str, number: int) -> None:
        slot = self._world.get(Slot, slot_id)
        bundle = self._world.get(Bundle, slot.bundle_id)
        account = self._world.saved_account_of(bundle)
        numbers = figures_at(self._world, slot, self._world.now())
        if numbers is None or account is None or account.banned:
            return
        self._office.herald.report(News.METRICS, bundle, slot, article=msgspec.structs.asdict(numbers))

    # Failures

    def _fate(self, slot: Slot, question: str) -> Random:
        return self._world.random(question, slot.id, slot.revision)

    def _failure(self, slot: Slot, attempt: int) -> str | None:
        """The code with which this try fails; None for one that succeeds."""
        habits = self._office.habits
        chance = self._fate(slot, "fails")
        if not habits.failure_codes or chance.random() >= habits.fails:
            return None
        codes = habits.failure_codes
        code = chance.choices(list(codes), list(codes.values()))[0]
        failing = (
            habits.tries if chance.random() < habits.fails_for_good else chance.randint(1, max(habits.tries - 1, 1))
        )
        if code.startswith(_FINAL_CODES):
            failing = habits.tries
        return code if attempt <= failing else None

    def _fail(self, slot_id: str, revision: int) -> None:
        found = self._current(slot_id, revision, "accepted")
        if found is None:
            return
        slot, work, bundle = found
        habits = self._office.habits
        code = self._failure(slot, work.attempt) or "network_error"
        message = _MESSAGES.get(code, f"The post failed: {code}")
        is_final = code.startswith(_FINAL_CODES)
        will_retry = work.attempt < habits.tries and not is_final
        slot.error = {"code": code, "message": message}
        self._world.put(slot)
        work.stage = "accepted" if will_retry else "given_up"
        self._world.put(work)
        retry = {"attempt": work.attempt, "max_attempts": habits.tries, "will_retry": will_retry}
        article = {"error_code": code, "message": message, "retry": retry}
        self._office.herald.report(News.POST_FAILED, bundle, slot, article=article)
        if will_retry:
            pause = self._office.draw(habits.retries_after, "retry", slot.id, revision, work.attempt)
            self._next(slot, work, self._world.now() + pause, "upload_video")
        elif self._is_shown(is_final):
            self._world.move_slot(slot, "pending_corrections")

    def _is_shown(self, is_rejected: bool) -> bool:
        wanted = self._office.habits.corrections_after_failure
        if wanted == "auto":
            return is_rejected or self._office.dialect is Dialect.ARTICLE
        return wanted == "always"


def post_url(platform: str, username: str | None, chance: Random) -> str:
    """A link to a post, of the platform's usual shape."""
    if platform == "instagram":
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        return f"https://www.instagram.com/reel/C{''.join(chance.choices(alphabet, k=10))}/"
    return f"https://www.tiktok.com/@{username or 'unknown'}/video/7{chance.randrange(10**18):018d}"
