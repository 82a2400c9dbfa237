from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.campaigns import read_document
from orchestrator.clock import Scale
from orchestrator.demo import world
from orchestrator.policies.schema import parse
from orchestrator.sandbox import demo_world
from orchestrator.sandbox.demo_world import DEMO
from tests.blackbox.server import Server, wait_for
from tests.blackbox.story import article


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, f"sqlite:///{tmp_path / 'orchestrator.db'}", ORCHESTRATOR_MODE="observe")
    (tmp_path / "config" / "policies.yaml").write_text(world.POLICIES)
    try:
        yield server.start()
    finally:
        server.close()


def test_the_policies_of_the_demo_have_no_warning() -> None:
    assert parse(world.POLICIES).warnings == ()


def test_the_campaign_of_the_demo_can_be_used() -> None:
    accounts = {(country, platform): ["b1", "b2"] for country, platform, _ in world.TARGETS}
    spec = read_document(json.dumps(world.campaign(accounts)))
    assert len({target.country for target in spec.targets}) == 5
    assert read_document(json.dumps(world.campaign(accounts, 2))).name == "demo-2"


def test_the_campaign_is_for_accounts_that_will_be_banned_and_leaves_some_out() -> None:
    doomed = [founding.username for founding in DEMO.accounts if founding.ban_after_days is not None]
    there = [
        {"bundle_id": f"b{number}", "username": username, "postable": True, "country": "US", "platform": "tiktok"}
        for number, username in enumerate((*(f"u{number}" for number in range(6)), doomed[0]))
    ]
    there.append({**there[0], "bundle_id": "a", "postable": False})
    assert world.choose(there) == {("US", "tiktok"): ["b6", "b0", "b1", "b2"]}
    assert world.choose([{**there[0], "country": "JP"}]) == {}


def test_the_sandbox_has_more_accounts_than_the_campaign_is_for() -> None:
    warm: Counter[tuple[str, str]] = Counter()
    for founding in DEMO.accounts:
        warm[founding.country, founding.platform] += founding.count
    assert all(warm[country, platform] > accounts for country, platform, accounts in world.TARGETS)
    assert demo_world.SPEED == world.SPEED


def test_the_clock_of_the_demo() -> None:
    scale = Scale.parse(world.clock())
    assert (str(scale), scale.speed) == (f"{world.EPOCH}@6000", world.SPEED)
    assert world.clock(600.5).endswith("@600.5")


def test_the_campaign_is_begun_once(server: Server) -> None:
    for country, platform, accounts in world.TARGETS:
        for number in range(accounts):
            for minute, event in enumerate(("created", "warming_completed")):
                about = {"country": country, "platform": platform}
                server.deliver(article(f"bundle.{event}", f"bdl_{country}_{platform}_{number}", minute, **about))
    campaign_id = world.begin(server.url)
    assert world.begin(server.url) == campaign_id
    (campaign,) = server.items("/api/campaigns")
    wanted = world.CLIPS * sum(accounts for _, _, accounts in world.TARGETS)
    assert (campaign["campaign_id"], campaign["status"], campaign["videos"]) == (campaign_id, "running", wanted)
    wait_for(lambda: len(server.items("/api/videos?limit=500")) == wanted)


def test_it_begins_with_the_accounts_that_there_are_when_patience_ends(server: Server) -> None:
    slept: list[float] = []
    seconds = iter(range(100))
    with pytest.raises(world.DemoError, match="no account of its countries may post"):
        world.begin(server.url, patience=5, sleep=slept.append, now=lambda: float(next(seconds)))
    assert 1 <= len(slept) <= 5
    for minute, event in enumerate(("created", "warming_completed")):
        server.deliver(article(f"bundle.{event}", "bdl_1", minute))
    wait_for(lambda: [item["postable"] for item in server.items("/api/bundles")] == [True])
    campaign_id = world.begin(server.url, patience=0)
    (campaign,) = server.items("/api/campaigns")
    assert (campaign["campaign_id"], campaign["videos"]) == (campaign_id, world.CLIPS)


def test_a_service_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(world.DemoError, match=r"the service at http://127\.0\.0\.1:9\S* does not answer"):
        world.begin("http://127.0.0.1:9", patience=0)
