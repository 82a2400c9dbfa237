"""What the hands do with every answer that TokPortal may give."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from orchestrator.commands.executor import Outcome, TryAgain
from orchestrator.database import Database
from orchestrator.outbox import Command
from orchestrator.tokportal.budget import Budget
from orchestrator.tokportal.hands import Hands
from tests.tokportal.fake import CONTENT, Fake, Ticking, command, configure, listed, no, slot

SLOTS = "GET /bundles/b/videos"
PUT = "PUT /bundles/b/videos/{}"
BATCH = "PUT /bundles/b/videos/batch"
UNSCHEDULE = "POST /bundles/b/videos/1/unschedule"
RESET = "POST /bundles/b/videos/1/reset"
AT = "2026-12-01T09:00:00Z"


class Unlimited(Budget):
    """Grants everything, and keeps no accounts."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def take(self, kind: Any, operation: str | None = None) -> float:
        self.kinds.append(kind)
        return 0.0

    def room(self, kind: Any) -> int:
        return 9

    def under_way(self) -> Any:
        import contextlib

        return contextlib.nullcontext()

    def correct(self, remaining: int) -> None:
        pass

    def cool_down(self, operation: str, seconds: float) -> None:
        pass


def hands(fake: Fake) -> Hands:
    budget = Unlimited()
    return Hands(fake.client(budget), budget)


def execute(answers: dict[str, Any], given: Command) -> tuple[Outcome, Fake]:
    fake = Fake(answers)
    return hands(fake).execute(given), fake


# Handing over.


def test_a_video_goes_to_the_first_pending_slot() -> None:
    rows = listed(slot(3), slot(1, "published", "other"), slot(2), slot(4, "cancelled"))
    answers = {SLOTS: rows, PUT.format(2): {"data": {"video_id": "tp_2", "status": "published"}}}
    outcome, fake = execute(answers, configure())
    assert outcome == Outcome(
        "done",
        data={
            "video_id": "tp_2",
            "position": 2,
            "status": "published",
            "slots": {"bundle_id": "b", "total": 3, "free": 1},
            "as_of": AT,
            "asked_at": AT,
        },
    )
    assert fake.asked[1].body == {
        "video_type": "video",
        "name": "teaser-1",
        "external_ref": "vid_1",
        "target_publish_date": "2026-12-05",
        "disclose_as_ads": True,
        "ai_content_disclaimer": False,
        "video_url": "https://cdn.example.com/teaser-1.mp4",
        "description": "New drop",
        "auto_publish": True,
    }
    assert fake.asked[1].key is not None and fake.asked[1].key.startswith("cmd_vid_1-")


def body_of(answers: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
    _, fake = execute({SLOTS: listed(slot(1)), PUT.format(1): {"data": {}}, **(answers or {})}, configure(**given))
    return fake.asked[-1].body  # type: ignore[no-any-return]


IMAGES = "POST /upload/image/from-url"


def test_what_each_platform_wants() -> None:
    assert body_of(platform="instagram")["instagram_content_type"] == "reel"
    assert "instagram_content_type" not in body_of(platform="tiktok")
    assert body_of(platform="instagram", content={"instagram": {}})["instagram_content_type"] == "reel"
    assert (
        body_of(platform="instagram", content={"instagram": {"content_type": "post"}})["instagram_content_type"]
        == "post"
    )
    sound = {"tiktok": {"sound_url": "https://tiktok.com/s"}}
    assert body_of(content=sound)["tiktok_sound_url"] == "https://tiktok.com/s"
    assert "tiktok_sound_url" not in body_of(platform="instagram", content=sound)
    assert "description" not in body_of(content={"caption": None})
    assert body_of(content={"caption": ""})["description"] == ""


def test_images_are_fetched_by_tokportal_first() -> None:
    media = ["https://cdn.example.com/1.jpg", "https://cdn.example.com/2.jpg"]
    kept = lambda asked: {"data": {"storage_path": f"kept/{asked.body['url'][-5:]}"}}  # noqa: E731
    carousel = {"type": "carousel", "media": media, "tiktok": {"sound_url": "https://tiktok.com/s"}}
    body = body_of({IMAGES: kept}, content=carousel)
    assert body["carousel_images"] == ["kept/1.jpg", "kept/2.jpg"]
    assert body["video_type"] == "carousel" and "video_url" not in body
    carousel["instagram"] = {}
    assert body_of({IMAGES: kept}, content=carousel, platform="instagram")["instagram_content_type"] == "post"
    story = {"type": "story", "media": media[0], "instagram": {}}
    body = body_of({IMAGES: kept}, content=story, platform="instagram")
    assert body["story_image_url"] == "kept/1.jpg"
    assert not {"description", "video_url", "instagram_content_type"} & set(body)


def test_images_where_tokportal_does_not_fetch_any() -> None:
    media = ["https://cdn.example.com/1.jpg"]
    body = body_of({IMAGES: no(404, "NOT_FOUND")}, content={"type": "carousel", "media": media})
    assert body["carousel_images"] == media


def test_images_that_cannot_be_fetched() -> None:
    story = configure(content={"type": "story", "media": "https://cdn.example.com/1.jpg"})
    answers = {SLOTS: listed(slot(1)), IMAGES: no(422, "IMAGE_TOO_LARGE")}
    assert execute(answers, story)[0].code == "IMAGE_TOO_LARGE"
    for said in ((500, ""), {"data": {}}):
        with pytest.raises(TryAgain):
            execute({**answers, IMAGES: said}, story)


def test_no_pending_slot() -> None:
    outcome, fake = execute({SLOTS: listed(slot(1, "published", "x"), slot(2, "cancelled"))}, configure())
    assert (outcome.outcome, outcome.code) == ("refused", "NO_FREE_SLOT")
    assert outcome.data["slots"] == {"bundle_id": "b", "total": 1, "free": 0}
    assert fake.whats() == [SLOTS]


@pytest.mark.parametrize("status", ["configured", "published", "accepted", "in_review", "finalized"])
def test_a_slot_that_has_it_is_kept(status: str) -> None:
    rows = listed(slot(1), slot(2, status, "vid_1", target_publish_date="2026-12-05", platform_url=None))
    outcome, fake = execute({SLOTS: rows}, configure())
    assert (outcome.outcome, outcome.data["position"], outcome.data["status"]) == ("done", 2, status)
    assert fake.whats() == [SLOTS], "nothing is sent twice"


def test_another_try_fills_the_same_slot_again() -> None:
    rows = listed(slot(1), slot(2, "published", "vid_1", target_publish_date="2026-12-05"))
    outcome, fake = execute({SLOTS: rows, PUT.format(2): {"data": {"status": "published"}}}, configure(tries=2))
    assert fake.whats() == [SLOTS, PUT.format(2)]
    assert fake.asked[1].body["name"] == "teaser-1 (try 2)"
    assert outcome.data["position"] == 2
    assert outcome.data["slots"]["free"] == 1


def test_another_day_fills_the_same_slot_again() -> None:
    rows = listed(slot(1), slot(2, "configured", "vid_1", target_publish_date="2026-12-04"))
    _, fake = execute({SLOTS: rows, PUT.format(2): {"data": {}}}, configure())
    assert fake.asked[-1].body["target_publish_date"] == "2026-12-05"


def test_a_video_that_is_posted_is_never_sent_again() -> None:
    rows = listed(slot(1), slot(2, "in_review", "vid_1", platform_url="https://tiktok.com/v", posted_at=AT))
    outcome, fake = execute({SLOTS: rows}, configure(tries=3, day="2026-12-09"))
    assert outcome.data["url"] == "https://tiktok.com/v"
    assert fake.whats() == [SLOTS]


def test_refusals_are_told_as_tokportal_said_them() -> None:
    answers = {
        SLOTS: listed(slot(1)),
        PUT.format(1): no(422, "VIDEOS_PER_DAY_EXCEEDED", "3 that day", date="2026-12-05"),
    }
    outcome, _ = execute(answers, configure())
    data = {"details": {"date": "2026-12-05"}, "asked_at": AT}
    assert outcome == Outcome("refused", "VIDEOS_PER_DAY_EXCEEDED", "3 that day", data)
    assert execute({SLOTS: no(404, "BUNDLE_NOT_FOUND")}, configure())[0].code == "BUNDLE_NOT_FOUND"


def test_a_lost_answer_is_unknown() -> None:
    answers = {SLOTS: listed(slot(1)), PUT.format(1): httpx2.ReadTimeout("slow")}
    assert execute(answers, configure())[0].outcome == "unknown"
    with pytest.raises(TryAgain):
        execute({SLOTS: httpx2.ReadTimeout("slow")}, configure())
    with pytest.raises(TryAgain):
        execute({SLOTS: listed(slot(1)), PUT.format(1): httpx2.ConnectError("down")}, configure())


def test_a_replayed_answer_is_checked() -> None:
    """TokPortal remembers what it said, not what has become of the slot since."""
    replay = (200, {"data": {"status": "configured"}}, {"Idempotent-Replayed": "true"})
    kept = listed(slot(1, "published", "vid_1"))
    outcome, fake = execute({SLOTS: [listed(slot(1)), kept], PUT.format(1): replay}, configure())
    assert (outcome.data["status"], fake.whats()) == ("published", [SLOTS, PUT.format(1), SLOTS])
    answers = {SLOTS: listed(slot(1)), PUT.format(1): [replay, {"data": {"status": "published"}}]}
    outcome, fake = execute(answers, configure())
    assert outcome.data["status"] == "published"
    assert fake.asked[1].key != fake.asked[3].key


def look_up(rows: Any, given: Command) -> Outcome | None:
    return hands(Fake({SLOTS: rows})).look_up(given)


def test_looking_up_what_was_handed_over() -> None:
    rows = listed(slot(1, "published", "vid_1", target_publish_date="2026-12-05"))
    found = look_up(rows, configure())
    assert found is not None and (found.outcome, found.data["position"]) == ("done", 1)
    assert look_up(rows, configure(tries=2)) is not None, "whichever try it has, it may be posted from there"
    named = {"target_publish_date": "2026-12-05", "name": "teaser-1"}
    assert look_up(listed(slot(1, "published", "vid_1", **named)), configure(tries=2)) is None, "that is the first try"
    named["name"] = "teaser-1 (try 2)"
    assert look_up(listed(slot(1, "published", "vid_1", **named)), configure(tries=2)) is not None
    assert look_up(listed(slot(1)), configure()) is None
    assert look_up(listed(slot(1, "cancelled", "vid_1")), configure()) is None
    assert look_up(no(404, "BUNDLE_NOT_FOUND"), configure()) is None
    for said in ((503, ""), no(403, "BUNDLE_NOT_OWNED")):
        with pytest.raises(TryAgain):
            look_up(said, configure())


# Several together.


def together(answers: dict[str, Any], *commands: Command) -> tuple[dict[str, Outcome], Fake]:
    fake = Fake(answers)
    return dict(hands(fake).execute_together(commands)), fake


def shown(outcomes: dict[str, Outcome]) -> dict[str, Any]:
    return {name: outcome.code or outcome.data.get("position") or outcome.outcome for name, outcome in outcomes.items()}


def test_a_batch() -> None:
    before = listed(slot(1, "published", "vid_2"), slot(2), slot(3), slot(4))
    after = listed(
        slot(1, "published", "vid_2"), slot(2, "published", "vid_1"), slot(3), slot(4, "configured", "vid_4")
    )
    result = {"results": [{"position": 3, "success": False, "error": {"code": "INVALID_DATE", "message": "early"}}]}
    outcomes, fake = together(
        {SLOTS: [before, after], BATCH: {"data": result}},
        *(configure(f"vid_{number}") for number in (1, 2, 3, 4)),
        configure("vid_5"),
    )
    assert shown(outcomes) == {
        "cmd_vid_1": 2,
        "cmd_vid_2": 1,
        "cmd_vid_3": "INVALID_DATE",
        "cmd_vid_4": 4,
        "cmd_vid_5": "NO_FREE_SLOT",
    }
    assert fake.whats() == [SLOTS, BATCH, SLOTS]
    body = fake.asked[1].body
    assert body["auto_publish"] is True
    assert [(entry["position"], entry["external_ref"]) for entry in body["videos"]] == [
        (2, "vid_1"),
        (3, "vid_3"),
        (4, "vid_4"),
    ]
    assert outcomes["cmd_vid_3"].message == "early"
    assert outcomes["cmd_vid_1"].data["slots"] == {"bundle_id": "b", "total": 4, "free": 1}


@pytest.mark.parametrize(
    "said",
    [
        {"data": {"results": [{"position": 1, "error": "early", "code": "INVALID_DATE"}]}},
        {"data": [{"position": 1, "success": False, "code": "INVALID_DATE"}]},
        {"data": {"configured": [2]}, "errors": [{"position": 1, "code": "INVALID_DATE", "message": "early"}]},
    ],
)
def test_however_a_batch_reports_what_it_refused(said: Any) -> None:
    after = listed(slot(1), slot(2, "configured", "vid_2"))
    outcomes, _ = together(
        {SLOTS: [listed(slot(1), slot(2)), after], BATCH: said}, configure("vid_1"), configure("vid_2")
    )
    assert shown(outcomes) == {"cmd_vid_1": "INVALID_DATE", "cmd_vid_2": 2}


def test_a_warning_of_a_batch_is_no_refusal_where_the_slot_has_the_video() -> None:
    after = listed(slot(1, "configured", "vid_1"), slot(2, "configured", "vid_2"))
    said = {"data": {}, "warnings": [{"position": 1, "code": "SOUND_IGNORED", "message": "no sound"}]}
    outcomes, _ = together(
        {SLOTS: [listed(slot(1), slot(2)), after], BATCH: said}, configure("vid_1"), configure("vid_2")
    )
    assert shown(outcomes) == {"cmd_vid_1": 1, "cmd_vid_2": 2}


def test_a_batch_that_says_nothing_of_one() -> None:
    after = listed(slot(1), slot(2, "configured", "vid_2"))
    outcomes, _ = together(
        {SLOTS: [listed(slot(1), slot(2)), after], BATCH: {"data": {}}}, configure("vid_1"), configure("vid_2")
    )
    # The list may lag behind: it is looked up before anything is repeated.
    assert shown(outcomes) == {"cmd_vid_1": "unknown", "cmd_vid_2": 2}


def test_a_batch_that_is_lost() -> None:
    two = configure("vid_1"), configure("vid_2")
    rows = listed(slot(1), slot(2))
    assert shown(together({SLOTS: rows, BATCH: (500, "")}, *two)[0]) == {"cmd_vid_1": "unknown", "cmd_vid_2": "unknown"}
    outcomes, _ = together({SLOTS: [rows, (503, "")], BATCH: {"data": {}}}, *two)
    assert shown(outcomes) == {"cmd_vid_1": "unknown", "cmd_vid_2": "unknown"}, "it was sent: what came of it is open"


def test_a_batch_of_which_nothing_happened() -> None:
    two = configure("vid_1"), configure("vid_2")
    for answers in ({SLOTS: (503, "")}, {SLOTS: listed(slot(1), slot(2)), BATCH: no(429, "capacity_cooldown")}):
        fake = Fake(answers)
        with pytest.raises(TryAgain):
            hands(fake).execute_together(two)
    assert fake.whats() == [SLOTS, BATCH], "a batch that was too much is not split"
    outcomes, _ = together({SLOTS: no(404, "BUNDLE_NOT_FOUND")}, *two)
    assert shown(outcomes) == {"cmd_vid_1": "BUNDLE_NOT_FOUND", "cmd_vid_2": "BUNDLE_NOT_FOUND"}


def test_a_batch_that_is_refused_as_a_whole_goes_one_by_one() -> None:
    rows, later = listed(slot(1), slot(2)), listed(slot(1, "configured", "vid_1"), slot(2))
    answers = {
        SLOTS: [rows, rows, later],
        BATCH: no(422, "VALIDATION_ERROR"),
        PUT.format(1): {"data": {"status": "configured"}},
        PUT.format(2): no(422, "INVALID_DATE"),
    }
    outcomes, _ = together(answers, configure("vid_1"), configure("vid_2"))
    assert shown(outcomes) == {"cmd_vid_1": 1, "cmd_vid_2": "INVALID_DATE"}


def test_one_of_a_batch_that_is_left_goes_alone() -> None:
    rows = listed(slot(1, "published", "vid_1", target_publish_date="2026-12-05"), slot(2))
    outcomes, fake = together({SLOTS: rows, PUT.format(2): {"data": {}}}, configure("vid_1"), configure("vid_2"))
    assert shown(outcomes) == {"cmd_vid_1": 1, "cmd_vid_2": 2}
    assert BATCH not in fake.whats()


# Looking, and taking back.


def free(rows: list[Any], *, free_it: bool = True, **answers: Any) -> tuple[Outcome, list[str]]:
    body = {"external_ref": "vid_1", "bundle_id": "b", "free_it": free_it}
    fake = Fake({SLOTS: rows, UNSCHEDULE: {"data": {}}, RESET: {"data": {}}, **answers})
    return hands(fake).execute(command("look_up_slot", body)), fake.whats()


HELD = listed(slot(1, "published", "vid_1"))


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (listed(slot(1, "in_review", "vid_1", platform_url="https://t/v")), "posted"),
        (listed(slot(1, "finalized", "vid_1")), "posted"),
        (listed(slot(1, "published", "vid_1", platform_url="https://t/v")), "posted"),
        (listed(slot(1, "in_review", "vid_1")), "busy"),
        (HELD, "busy"),
        (listed(slot(1, "accepted", "vid_1")), "busy"),
        (listed(slot(1, "teleported", "vid_1")), "busy"),
        (listed(slot(1, "", "vid_1")), "unknown"),
        (listed(slot(1, "pending", "vid_1")), "free"),
        (listed(slot(1, "cancelled", "vid_1")), "free"),
        (listed(slot(1, "published", "vid_2"), slot(2)), "free"),
        (listed(), "unknown"),
        (listed({"position": 1, "status": "published"}), "unknown"),
        (listed({"position": 1, "status": "pending"}), "free"),
        (listed(slot(1), slot(2, "published", "vid_1")), "busy"),
        (listed(slot(1, "cancelled", "vid_1"), slot(2, "published", "vid_1")), "busy"),
    ],
)
def test_looking_only(rows: Any, found: str) -> None:
    outcome, whats = free(rows, free_it=False)
    assert outcome.data["slot"] == found
    assert whats == [SLOTS]


def test_a_slot_that_is_unscheduled_is_looked_at_again() -> None:
    outcome, whats = free([HELD, listed(slot(1))])
    assert (outcome.outcome, outcome.data["slot"]) == ("done", "free")
    assert whats == [SLOTS, UNSCHEDULE, SLOTS]
    assert outcome.data["slots"] == {"bundle_id": "b", "total": 1, "free": 1}


def test_one_that_stays_configured_is_reset_besides() -> None:
    outcome, whats = free([HELD, listed(slot(1, "configured", "vid_1")), listed(slot(1))])
    assert outcome.data["slot"] == "free"
    assert whats == [SLOTS, UNSCHEDULE, SLOTS, RESET, SLOTS]


def test_what_tokportal_does_not_confirm_is_not_free() -> None:
    outcome, _ = free([HELD])
    assert outcome.data["slot"] == "busy"
    assert free([HELD, listed()])[0].data["slot"] == "unknown"


def test_one_that_is_posted_in_the_meantime() -> None:
    posted = listed(slot(1, "in_review", "vid_1", platform_url="https://t/v", posted_at=AT))
    outcome, whats = free([HELD, posted], **{UNSCHEDULE: no(409, "INVALID_STATUS_TRANSITION")})
    assert (outcome.data["slot"], outcome.data["url"], outcome.data["posted_at"]) == ("posted", "https://t/v", AT)
    assert RESET not in whats


def test_what_a_manager_is_posting_is_never_reset() -> None:
    accepted = listed(slot(1, "accepted", "vid_1"))
    outcome, whats = free([accepted], **{UNSCHEDULE: no(409, "INVALID_STATUS_TRANSITION")})
    assert outcome.data["slot"] == "busy"
    assert whats == [SLOTS, UNSCHEDULE, SLOTS]


def test_a_cancelled_bundle_says_so() -> None:
    refusal = no(409, "BUNDLE_INVALID_STATUS", current_status="cancelled")
    outcome, _ = free([HELD], **{UNSCHEDULE: refusal, RESET: refusal})
    assert (outcome.data["slot"], outcome.data["bundle_status"]) == ("busy", "cancelled")


def test_a_lost_unscheduling_is_looked_up() -> None:
    outcome, _ = free([HELD], **{UNSCHEDULE: (500, "")})
    assert outcome.outcome == "unknown"
    given = command("look_up_slot", {"external_ref": "vid_1", "bundle_id": "b", "free_it": True})
    assert look_up(HELD, given) is None
    found = look_up(listed(slot(1)), given)
    assert found is not None and found.data["slot"] == "free"


def test_a_slot_is_known_by_tokportals_own_id_too() -> None:
    body = {"external_ref": "vid_1", "bundle_id": "b", "free_it": False, "vendor_id": "tp_1"}
    fake = Fake({SLOTS: listed(slot(1, "published"))})
    assert hands(fake).execute(command("look_up_slot", body)).data["slot"] == "busy"
    fake = Fake({SLOTS: listed(slot(1, "published", "vid_2"))})
    assert hands(fake).execute(command("look_up_slot", body)).data["slot"] == "free"


def test_where_a_slot_does_not_say_what_it_holds_nothing_is_called_free() -> None:
    """It may be our video: of one that people put there by hand nobody can tell, unless TokPortal's name of ours is
    known."""
    rows = listed(slot(1), slot(2, "finalized"))
    ask = {"external_ref": "vid_1", "bundle_id": "b", "free_it": True}
    assert hands(Fake({SLOTS: rows})).execute(command("look_up_slot", ask)).data["slot"] == "unknown"
    known = command("look_up_slot", {**ask, "vendor_id": "tp_9"})
    assert hands(Fake({SLOTS: rows})).execute(known).data["slot"] == "free"
    nameless = listed(slot(1), slot(2, "finalized", video_id=None))
    assert hands(Fake({SLOTS: nameless})).execute(known).data["slot"] == "unknown"


def test_unscheduling() -> None:
    fake = Fake({SLOTS: [HELD, listed(slot(1))], UNSCHEDULE: {"data": {}}})
    outcome = hands(fake).execute(command("unschedule_video", {"bundle_id": "b", "video_id": "vid_1"}))
    assert outcome.data["slot"] == "free"


# Paid commands.

ADD = "POST /bundles/b/add-video-slots"
DRY = {"data": {}, "dry_run": True, "credits_charged": 0, "credits_would_charge": 8}
PAID = {"data": {}, "credits_charged": 8, "credits_remaining": 100}


def buying(price: int | None, **body: Any) -> Command:
    return command("add_slots", {"bundle_id": "b", "quantity": 4, "had": 2, **body}, price=price)


@pytest.mark.parametrize("price", [None, 7])
def test_nothing_is_bought_above_its_price(price: int | None) -> None:
    outcome, fake = execute({ADD: DRY}, buying(price))
    assert (outcome.outcome, outcome.code, outcome.data) == ("again", "PRICE", {"price": 8})
    assert fake.whats() == [f"dry {ADD}"]


def test_slots_are_bought_after_a_dry_run() -> None:
    outcome, fake = execute({ADD: [DRY, PAID], SLOTS: listed(*(slot(n) for n in range(1, 7)))}, buying(8))
    assert outcome.outcome == "done"
    assert outcome.data["credits_charged"] == 8
    assert outcome.data["slots"] == {"bundle_id": "b", "total": 6, "free": 6}
    assert fake.whats() == [f"dry {ADD}", ADD, SLOTS]
    assert fake.asked[1].body == {"quantity": 4} and fake.asked[1].key is not None


@pytest.mark.parametrize("said", [(503, ""), no(403, "X")])
def test_what_was_bought_is_done_whatever_comes_afterwards(said: Any) -> None:
    assert execute({ADD: [DRY, PAID], SLOTS: said}, buying(8))[0].outcome == "done"


def test_credits_that_are_missing() -> None:
    refusal = no(402, "INSUFFICIENT_CREDITS", required=8, available=1, missing=7)
    outcome, fake = execute({ADD: refusal}, buying(8))
    assert (outcome.code, outcome.data["details"]["missing"]) == ("INSUFFICIENT_CREDITS", 7)
    assert fake.whats() == [f"dry {ADD}"]


def test_a_lost_purchase_is_counted() -> None:
    assert execute({ADD: [DRY, (500, "")]}, buying(8))[0].outcome == "unknown"

    def asked(total: Any, **body: Any) -> Outcome | None:
        bundle = {"data": {"id": "b", "videos_quantity": total}}
        return hands(Fake({"GET /bundles/b": bundle, SLOTS: listed(slot(1))})).look_up(buying(8, **body))

    assert asked(2) is None
    assert asked(5) is None
    bought = asked(6)
    assert bought is not None and bought.outcome == "done"
    for unknown in (asked(6, had=None), asked(None)):
        assert unknown is not None and unknown.outcome == "unknown", "nothing is ever bought twice"


# Warming.

SESSIONS = "GET /accounts/s/warming-sessions"
TERMS = "PUT /bundles/b/warming-terms"
REWARM = "POST /accounts/s/rewarm"


def warming(price: int | None = 15, account: str | None = "s", **body: Any) -> Command:
    given = {"bundle_id": "b", "account": account, "mode": "advanced", "terms": ["a", "b", "c"], "try": 1, **body}
    return command("start_warming", given, price=price)


def test_terms_that_were_bought_are_set() -> None:
    for session in ({"terms_configured": False}, {"terms_configured": 0, "terms_total": 3}):
        outcome, fake = execute(
            {SESSIONS: listed({"id": "w", "status": "pending", **session}), TERMS: {"data": {}}}, warming()
        )
        assert outcome.data["started"] == "terms"
        assert fake.asked[-1].body == {"advanced_warming_terms": ["a", "b", "c"]}


def test_before_an_account_is_delivered_only_its_bundle_can_be_warmed() -> None:
    answers = {"GET /bundles/b": {"data": {"id": "b", "saved_account_id": None}}, TERMS: {"data": {}}}
    assert execute(answers, warming(account=None))[1].whats() == ["GET /bundles/b", TERMS]
    answers = {"GET /bundles/b": {"data": {"id": "b", "saved_account_id": "s"}}, SESSIONS: listed(), REWARM: DRY}
    assert execute(answers, warming(1, None))[1].whats() == ["GET /bundles/b", SESSIONS, f"dry {REWARM}"]


def test_warming_again_is_paid() -> None:
    over = listed(
        {"id": "w", "status": "completed", "terms_configured": True}, {"id": "v", "status": "x", "completed_at": AT}
    )
    dry = {**DRY, "credits_would_charge": 15}
    outcome, fake = execute({SESSIONS: over, REWARM: [dry, {"data": {}, "credits_charged": 15}]}, warming())
    assert (outcome.data["started"], outcome.data["credits_charged"]) == ("rewarmed", 15)
    assert fake.asked[-1].body == {"search_terms": ["a", "b", "c"]}
    outcome, fake = execute({SESSIONS: over, REWARM: dry}, warming(price=14))
    assert (outcome.code, outcome.data) == ("PRICE", {"price": 15})
    assert fake.whats() == [SESSIONS, f"dry {REWARM}"]


def test_warming_that_goes_on_is_not_bought_again() -> None:
    active = listed({"id": "w", "status": "active", "terms_configured": True})
    assert execute({SESSIONS: active}, warming())[0].data == {"started": "already"}
    assert execute({SESSIONS: no(404, "X"), REWARM: no(409, "REWARM_ALREADY_ACTIVE")}, warming())[0].outcome == "done"
    answers = {
        SESSIONS: listed({"status": "pending", "terms_configured": False}),
        TERMS: no(409, "WARMING_TERMS_ALREADY_SET"),
    }
    assert execute(answers, warming())[0].outcome == "done"


def test_warming_that_tokportal_does_not_sell() -> None:
    assert execute({}, warming(mode="deep"))[0].code == "WARMING_MODE"
    answers = {SESSIONS: listed(), REWARM: no(409, "REWARM_NO_ACTIVE_ORDER")}
    assert execute(answers, warming())[0].code == "REWARM_NO_ACTIVE_ORDER"


def test_looking_up_a_lost_start() -> None:
    def asked(*sessions: dict[str, Any]) -> Outcome | None:
        return hands(Fake({SESSIONS: listed(*sessions)})).look_up(warming())

    assert asked() is None
    assert asked({"status": "completed", "started_at": "2026-11-01T00:00:00Z"}) is None
    assert asked({"status": "pending", "terms_configured": False}) is None
    for found in ({"status": "completed", "started_at": AT}, {"status": "active", "terms_configured": True}):
        outcome = asked(found)
        assert outcome is not None and outcome.outcome == "done"


# Reviews and metrics.

FINALIZE = "POST /bundles/b/videos/1/finalize"
CORRECTIONS = "POST /bundles/b/videos/1/corrections"
REVIEW = listed(slot(1, "in_review", "vid_1", platform_url="https://t/v"))


def test_a_review_is_answered() -> None:
    body = {"bundle_id": "b", "external_ref": "vid_1"}
    outcome, _ = execute({SLOTS: REVIEW, FINALIZE: {"data": {"status": "finalized"}}}, command("finalize_video", body))
    assert (outcome.outcome, outcome.data["status"], outcome.data["url"]) == ("done", "finalized", "https://t/v")
    given = command("request_corrections", {**body, "comment": "louder", "fields": {"caption": "x"}})
    outcome, fake = execute({SLOTS: REVIEW, CORRECTIONS: {"data": {}}}, given)
    assert outcome.data["status"] == "pending_corrections"
    assert fake.asked[-1].body == {"comment": "louder", "fields": {"caption": "x"}}
    late = no(409, "INVALID_STATUS_TRANSITION")
    assert execute({SLOTS: REVIEW, CORRECTIONS: late}, given)[0].code == "INVALID_STATUS_TRANSITION"
    assert execute({SLOTS: listed(slot(1))}, given)[0].code == "VIDEO_NOT_FOUND"


def test_what_is_final_is_not_made_final_again() -> None:
    given = command("finalize_video", {"bundle_id": "b", "external_ref": None, "position": 1})
    outcome, fake = execute({SLOTS: listed(slot(1, "finalized"))}, given)
    assert (outcome.outcome, fake.whats()) == ("done", [SLOTS])
    assert look_up(REVIEW, given) is None
    found = look_up(listed(slot(1, "finalized")), given)
    assert found is not None and found.outcome == "done"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            {"views": 10, "likes": 2, "captured_at": "2026-12-01T08:00:00Z"},
            {"views": 10, "likes": 2, "as_of": "2026-12-01T08:00:00Z"},
        ),
        ({"metrics": {"views": 10, "shares": 0}}, {"views": 10, "shares": 0, "as_of": AT}),
        ({"views": 1, "captured_at": "2027-01-01T00:00:00Z"}, {"views": 1, "as_of": AT}),
        ({"views": "10", "likes": True, "comments": -1, "captured_at": "soon"}, {}),
        ({}, {}),
    ],
)
def test_metrics(data: dict[str, Any], expected: dict[str, Any]) -> None:
    given = command("read_metrics", {"bundle_id": "b", "external_ref": "vid_1", "vendor_id": "tp_9"})
    outcome, fake = execute({"GET /videos/tp_9/analytics": {"data": data}}, given)
    outcome.data.pop("asked_at", None)
    assert outcome == Outcome("done", data=expected)
    assert fake.whats() == ["GET /videos/tp_9/analytics"]


def test_metrics_of_a_video_whose_id_is_not_known() -> None:
    given = command("read_metrics", {"bundle_id": "b", "external_ref": "vid_1"})
    outcome, _ = execute({SLOTS: REVIEW, "GET /videos/tp_1/analytics": {"data": {"views": 1}}}, given)
    assert outcome.data["views"] == 1
    assert execute({SLOTS: listed(slot(1))}, given)[0] == Outcome("done")
    assert execute({SLOTS: REVIEW, "GET /videos/tp_1/analytics": no(404, "X")}, given)[0] == Outcome("done")
    assert hands(Fake({})).look_up(given) is None


# The whole.


def test_recovery_goes_on_its_own_account() -> None:
    fake, budget = Fake({SLOTS: listed()}), Unlimited()
    doer = Hands(fake.client(budget), budget)
    doer.execute(configure(urgency=0))
    doer.execute(configure(urgency=1))
    doer.execute_together([configure(urgency=1), configure("vid_2", urgency=0)])
    assert budget.kinds == ["recovery", "ordinary", "recovery"]


def test_room_is_for_commands_of_two_requests(database: Database) -> None:
    budget = Budget(database, Ticking().microseconds)
    doer = Hands(Fake({}).client(budget), budget)
    assert (doer.room(0), doer.room(1)) == (60, 54)
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM quotas")).scalar() == 0


def test_a_command_that_nobody_knows() -> None:
    assert execute({}, command("reveal_credentials", {"bundle_id": "b"}))[0].code == "UNKNOWN_COMMAND"


def test_content_is_what_campaigns_allow() -> None:
    """Every member of a campaign's content is put into a slot, or has a reason not to be."""
    from orchestrator.campaigns.files import TYPES
    from orchestrator.campaigns.spec import Content

    assert set(TYPES) == {"video", "carousel", "story"}
    assert set(Content.__struct_fields__) == set(CONTENT)
