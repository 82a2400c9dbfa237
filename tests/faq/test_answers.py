"""What docs/faq.md promises and no other test holds the program to, and that each of its answers names tests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.database import Database
from tests.api.house import TOKENS, House, bearer, webhook
from tests.api.house import house as open_house
from tests.brain.stage import Make, Stage, campaign

ROOT = Path(__file__).parents[2]
FAQ = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", FAQ)))


@pytest.fixture
def make(migrated_url: str) -> Iterator[Make]:
    with closing(Database(migrated_url, connections=3)) as database:
        made: list[Stage] = []

        def build(**options: object) -> Stage:
            made.append(Stage(database, **options))  # type: ignore[arg-type]
            return made[-1]

        yield build
        for stage in made:
            stage.close()


@pytest.fixture
def guarded(migrated_url: str) -> Iterator[House]:
    with open_house(migrated_url, tokens=TOKENS) as opened:
        yield opened


def test_every_answer_names_its_tests() -> None:
    questions = re.split(r"^### ", FAQ, flags=re.MULTILINE)[1:]
    assert len(questions) >= 15
    for question in questions:
        assert re.search(r"^Tests: `tests/", question, re.MULTILINE), question.partition("\n")[0]


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_every_test_that_is_named_exists(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        if file.startswith(("http://", "https://")):
            continue
        there = (page.parent / file).resolve() if file else page
        assert there.is_file(), target
        if anchor:
            assert anchor in _anchors(there.read_text(encoding="utf-8")), target


def _anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def placed(stage: Stage) -> str:
    stage.warm("b1")
    (video,) = stage.video_ids(stage.campaign(campaign()))
    stage.send_all()
    return video


def test_a_delivery_that_comes_again_much_later_changes_nothing(make: Make) -> None:
    stage = make()
    at = stage.now
    stage.article("bundle.created", "b1", at=at, event_id="evt_first")
    stage.article("bundle.banned", "b1")
    before = len(stage.events())
    stage.wait(days=3)
    stage.article("bundle.created", "b1", at=at, event_id="evt_first")
    assert len(stage.events()) == before
    assert stage.bundle("b1").state == "banned"


def test_an_event_that_two_endpoints_send_counts_once(guarded: House) -> None:
    message = webhook("bundle.banned")
    guarded.tell(webhook("bundle.created"), message)
    told = len(guarded.get("/api/events", headers=bearer("viewer"))["items"])
    guarded.tell(message)
    (known,) = guarded.get(f"/api/messages?event_id={message.event_id}", headers=bearer("viewer"))["items"]
    assert known["deliveries"] == 2
    assert len(guarded.get("/api/events", headers=bearer("viewer"))["items"]) == told


def test_a_post_counts_without_the_steps_before_it(make: Make) -> None:
    stage = make()
    video = placed(stage)
    stage.wait(days=1)
    stage.article("video.posted", "b1", video_id=video, url="https://tiktok.example/1")
    assert stage.video(video).state == "posted"


def test_uploaded_is_not_posted(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    article, public = stage.video_ids(
        stage.campaign(campaign(targets="[{country: US, platform: tiktok, accounts: 2}]"))
    )
    stage.send_all()
    on = {video: stage.video(video).bundle_id for video in (article, public)}
    stage.article("video.upload_completed", str(on[article]), video_id=article)
    assert stage.video(article).state == "uploaded"
    for event, url, state in (
        ("video.published", None, "scheduled"),
        ("video.in_review", None, "uploaded"),
        ("video.in_review", "https://tiktok.example/2", "posted"),
    ):
        stage.wait(minutes=5)
        given = {"platform_url": url} if url else {}
        stage.public(event, bundle_id=on[public], video_id=public, external_ref=public, position=1, **given)
        assert stage.video(public).state == state, event
    assert stage.video(article).state == "uploaded"


def test_a_video_has_a_day_and_no_hour(make: Make) -> None:
    stage = make()
    video = placed(stage)
    (attempt,) = stage.video(video).attempts
    # A delivered account needs a day of lead time.
    assert attempt.target_day == (stage.now + timedelta(days=1)).date().isoformat()
    (command,) = stage.commands(kind="configure_video")
    assert command["body"]["target_day"] == attempt.target_day


def test_instagram_is_a_platform_like_tiktok(make: Make) -> None:
    stage = make()
    stage.warm("b1", platform="instagram")
    spec = stage.campaign(campaign(targets="[{country: US, platform: instagram, accounts: 1}]"))
    (video,) = stage.video_ids(spec)
    (command,) = stage.commands(kind="configure_video")
    assert command["platform"] == "instagram"
    assert command["body"]["content"]["instagram"].get("content_type", "reel") == "reel"
    stage.send_all()
    stage.article("video.posted", "b1", platform="instagram", video_id=video)
    assert stage.video(video).state == "posted"


def test_another_platform_is_quarantined(make: Make) -> None:
    stage = make()
    status, reason = stage.status(stage.article("bundle.created", "b1", platform="youtube"))
    assert status == "quarantined"
    assert "platform" in str(reason)


def test_an_order_is_in_the_history_under_the_name_of_its_token(guarded: House) -> None:
    guarded.tell(webhook("bundle.created"))
    answer = guarded.client.post(
        "/api/bundles/bdl_1/pause", json={"reason": "a look first"}, headers=bearer("operator")
    )
    assert answer.status_code == 202
    guarded.tell()
    (item,) = [
        item
        for item in guarded.get("/api/bundles/bdl_1/history", headers=bearer("viewer"))["items"]
        if item["event"] == "BundlePaused"
    ]
    assert (item["actor"]["name"], item["reason"]) == ("otto", "a look first")
    assert guarded.client.post("/api/bundles/bdl_1/pause", headers=bearer("viewer")).status_code == 403
