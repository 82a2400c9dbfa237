"""Campaigns on the command line: planned, drafted, started, paused, resumed, cancelled and looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from getpass import getuser
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.conftest import SETTINGS, NewServer, empty_database
from tests.blackbox.server import Server, agree, run_cli
from tests.blackbox.story import article, fresh
from tests.conftest import BACKENDS

POLICIES = """version: 1
defaults:
  warming: {start: manual}
"""
STATED = ("--not-as-ads", "--no-ai-content")

on_sqlite = pytest.mark.parametrize("house", ["sqlite"], indirect=True)


@pytest.fixture(scope="module", params=BACKENDS)
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service with policies in force and two warm accounts on TikTok in the United States."""
    folder = tmp_path_factory.mktemp(f"campaigns-{request.param}")
    with empty_database(request, request.param, folder) as url:
        server = Server(folder, url, **SETTINGS)
        (folder / "config" / "policies.yaml").write_text(POLICIES)
        try:
            server.start()
            for bundle in ("bdl_us_1", "bdl_us_2"):
                for minute, event in enumerate(("created", "warming_started", "warming_completed")):
                    server.deliver(article(f"bundle.{event}", bundle, minute))
            server.wait_until_applied()
            yield server
            assert server.errors() == []
        finally:
            server.close()


def write(server: Server, name: str, *, videos: int = 2, country: str = "US", accounts: int = 2) -> str:
    """A campaign file; its path as one gives it in the server's folder."""
    refs = "".join(
        f"  - {{ref: teaser-{number}, media: 'https://cdn.example.com/{number}.mp4'}}\n"
        for number in range(1, videos + 1)
    )
    path = server.folder / f"{name}.yaml"
    path.write_text(
        f"name: {name}\nvideos:\n{refs}targets:\n  - {{country: {country}, platform: tiktok, accounts: {accounts}}}\n"
        "disclose_as_ads: true\nai_content_disclaimer: false\n"
    )
    return path.name


def running(server: Server, **options: Any) -> str:
    """The name of a campaign that was started from a file."""
    name = fresh("cmp")
    server.cli_json("campaign", "create", write(server, name, **options))
    server.cli_json("campaign", "start", name)
    server.wait_until_applied()
    return name


@on_sqlite
def test_planning_a_file_shows_the_calendar_and_writes_nothing(house: Server) -> None:
    file = write(house, fresh("cmp"), accounts=3)
    before = house.items("/api/messages"), house.items("/api/campaigns")
    shown = house.cli("campaign", "plan", file)
    planned = house.cli_json("campaign", "plan", file)
    asked = house.client().post(
        "/api/campaigns?dry_run=true",
        content=(house.folder / file).read_bytes(),
        headers={**house.bearer("operator"), "Content-Type": "application/yaml"},
    )
    assert planned == asked.json()
    assert len(planned["plan"]) == 4
    assert (shown.returncode, shown.stderr) == (0, "")
    for word in (
        "tiktok in US: 4 videos on 2 accounts",
        "bdl_us_1",
        "bdl_us_2",
        "teaser-1",
        "3 accounts are asked for",
    ):
        assert word in shown.stdout
    assert (house.items("/api/messages"), house.items("/api/campaigns")) == before


@on_sqlite
def test_an_unmet_wish_is_shown_with_its_reason(house: Server) -> None:
    shown = house.cli("campaign", "plan", write(house, fresh("cmp"), country="FR"))
    assert "no account of tiktok in FR is known" in shown.stdout
    assert "2 videos: 0 placed; 2 unmet." in shown.stdout


def test_a_campaign_lives_by_orders_of_the_command_line(house: Server) -> None:
    name = fresh("cmp")
    file = write(house, name)

    # Drafted: the calendar, and a message of the person at the terminal.
    drafted = house.cli_json("campaign", "create", file)
    assert (drafted["status"], drafted["message"]["status"], len(drafted["plan"])) == ("draft", "applied", 4)
    message = house.api(f"/api/messages/{drafted['message']['message_id']}")
    assert (message["kind"], message["actor"]) == ("command", {"kind": "person", "name": getuser()})
    house.wait_until_applied()
    campaign_id = drafted["campaign_id"]
    assert house.cli_json("campaign", "plan", name)["plan"] == drafted["plan"]
    agree(house, ("campaigns", "show", name), f"/api/campaigns/{campaign_id}")
    agree(house, ("campaigns", "list", "--status", "draft"), "/api/campaigns?status=draft")

    # Started: every video is where the draft said.
    started = house.cli_json("campaign", "start", name, "--reason", "as agreed")
    assert started["status"] == "applied"
    house.wait_until_applied()
    keys = ("video_id", "bundle_id", "target_day")
    where = sorted([item[key] for key in keys] for item in house.cli_json("campaign", "plan", campaign_id)["plan"])
    assert where == sorted([item[key] for key in keys] for item in drafted["plan"])
    videos = house.cli_json("videos", "list", "--campaign-id", name, "--ref", "teaser-1")
    assert videos == house.api(f"/api/videos?campaign_id={campaign_id}&ref=teaser-1")
    assert len(videos["items"]) == 2

    # Paused, resumed, cancelled.
    for verb, status in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        assert house.cli_json("campaign", verb, campaign_id)["status"] == "applied"
        house.wait_until_applied()
        assert house.api(f"/api/campaigns/{campaign_id}")["status"] == status

    # What is forbidden is refused with the reason, and the history shows it.
    refused = house.cli("campaign", "start", name, "--reason", "once \x1b[31mmore")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "orchestrator: refused: a campaign that is cancelled cannot be started\n"
    history = house.cli_json("history", "campaign", name)
    assert history == house.api(f"/api/campaigns/{campaign_id}/history")
    events = [(item["event"], item["actor"]["name"]) for item in history["items"] if item["actor"]["kind"] == "person"]
    assert [event for event, _ in events] == [
        "CampaignDrafted",
        "CampaignStarted",
        "CampaignPaused",
        "CampaignResumed",
        "CampaignCancelled",
        "CommandRefused",
    ]
    assert {who for _, who in events} == {getuser()}


@on_sqlite
def test_tables_for_people_tell_the_same(house: Server) -> None:
    name = running(house)
    for arguments, words in {
        ("campaigns", "list"): (name, "running"),
        ("campaigns", "show", name): ("by_country", "US: 4"),
        ("campaign", "plan", name): ("tiktok in US: 4 videos on 2 accounts", "teaser-2"),
        ("videos", "list", "--campaign-id", name): ("teaser-1", "tiktok US", "bdl_us_1"),
        ("history", "campaign", name): ("CampaignStarted", "CampaignPlaced"),
    }.items():
        done = house.cli(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
        for word in words:
            assert word in done.stdout, arguments


@on_sqlite
def test_the_same_file_is_the_same_campaign_and_other_content_needs_another_name(house: Server) -> None:
    name = running(house)
    stands = house.cli_json("campaign", "plan", name)
    again = house.cli("campaign", "create", f"{name}.yaml")
    assert (again.returncode, again.stderr) == (0, "")
    assert f"The campaign {name} is there already: running." in again.stdout
    # Not planned a second time beside itself.
    assert house.cli_json("campaign", "plan", f"{name}.yaml")["plan"] == stands["plan"] != []
    assert house.cli_json("campaign", "create", f"{name}.yaml")["message"] is None
    write(house, name, videos=1)
    for verb in ("plan", "create"):
        other = house.cli("campaign", verb, f"{name}.yaml")
        assert (other.returncode, other.stdout) == (2, "")
        assert "with other content: give this one another name" in other.stderr


@on_sqlite
def test_a_file_with_mistakes_is_refused_with_all_of_them(house: Server) -> None:
    (house.folder / "broken.yaml").write_text(
        "name: x\nstarts: 2026-02-30\nvideos:\n  - {ref: a, media: nowhere}\ntarget: []\nai_content_disclaimer: yes\n"
    )
    before = house.items("/api/messages")
    for verb in ("plan", "create"):
        done = house.cli("campaign", verb, "broken.yaml")
        assert (done.returncode, done.stdout) == (2, "")
        first, *rest = done.stderr.splitlines()
        assert first == "orchestrator: broken.yaml has 6 errors: nothing was changed"
        assert [line.split(":")[:3] for line in rest] == [
            ["  broken.yaml", "1", " disclose_as_ads"],
            ["  broken.yaml", "1", " targets"],
            ["  broken.yaml", "2", " starts"],
            ["  broken.yaml", "4", " videos[0].media"],
            ["  broken.yaml", "5", " target"],
            ["  broken.yaml", "6", " ai_content_disclaimer"],
        ]
    assert house.items("/api/messages") == before


@on_sqlite
def test_csv_has_a_row_for_each_post_and_the_rest_as_options(house: Server) -> None:
    rows = "".join(f"v{number},https://cdn.example.com/{number}.mp4,US\n" for number in range(3))
    (house.folder / "rows.csv").write_text(f"ref,media,country\n{rows}")
    name = fresh("cmp")
    given = ("rows.csv", "--name", name, "--platform", "tiktok", "--starts", "2030-01-01", *STATED)
    planned = house.cli_json("campaign", "plan", *given)
    assert [item["ref"] for item in planned["plan"]] == ["v0", "v1", "v2"]
    assert {item["target_day"] >= "2030-01-01" for item in planned["plan"]} == {True}
    drafted = house.cli_json("campaign", "create", *given)
    assert drafted["message"]["status"] == "applied"
    again = house.cli_json("campaign", "create", *given)
    assert (again["plan"], again["message"]) == (drafted["plan"], None)


@on_sqlite
def test_a_row_that_is_wrong_is_named_by_its_line(house: Server) -> None:
    (house.folder / "wrong.csv").write_text(
        "ref,media,country\na,https://x.example/1,US\n,https://x.example/2,US\nb,c,XX\n"
    )
    done = house.cli("campaign", "create", "wrong.csv", "--name", "x", "--platform", "tiktok", *STATED)
    assert done.returncode == 2
    assert [line.split(":")[:3] for line in done.stderr.splitlines()[1:]] == [
        ["  wrong.csv", "3", " ref"],
        ["  wrong.csv", "4", " media"],
        ["  wrong.csv", "4", " country"],
    ]


@on_sqlite
def test_ten_thousand_rows_are_planned_in_a_few_seconds(house: Server) -> None:
    rows = "".join(f"v{number},https://cdn.example.com/{number}.mp4\n" for number in range(10_000))
    (house.folder / "many.csv").write_text(f"ref,media\n{rows}")
    planned = house.cli_json(
        "campaign", "plan", "many.csv", "--name", "many", "--country", "us", "--platform", "tiktok", *STATED
    )
    assert len(planned["plan"]) + len(planned["unmet"]) == 10_000


MISTAKES = {
    "campaign plan nowhere": "neither a file nor a campaign 'nowhere'",
    "campaign plan nowhere.csv --name x": "no file nowhere.csv",
    "campaign create nowhere.yaml": "No such file",
    "campaign start nowhere": "no campaign 'nowhere'",
    "campaigns show nowhere": "no campaign 'nowhere'",
    "campaigns list --status sold": "--status",
    "history campaign nowhere": "no campaign 'nowhere'",
    "history account x": "bundle, video, campaign",
    "campaign plan some.csv": "--name",
    "campaign plan some.csv --name x": "--disclose-as-ads",
    "campaign plan some.csv --name x --not-as-ads --no-ai-content --starts 2026-02-30": "--starts",
    "campaign plan some.csv --name x --not-as-ads --no-ai-content --country XX": "--country",
    "campaign plan some.csv --name x --not-as-ads --no-ai-content --platform myspace": "--platform",
    "campaign plan some.yaml --group x": "--group",
    "videos list --state sold": "--state",
    "videos list --country XX": "--country",
    "policy show --platform tiktok": "--country",
    "policy show --country XX": "--country",
    "policy check nowhere.yaml": "nowhere.yaml",
    "policy apply nowhere.yaml": "nowhere.yaml",
    "decisions --kind guess": "--kind",
    "commands list --status sold": "--status",
    "commands list --kind guess": "--kind",
    "commands retry cmd_none": "no command 'cmd_none'",
    "messages retry msg_none": "no message 'msg_none'",
    f"campaign pause x --reason {'x' * 2001}": "--reason",
    "campaign start caf\udce9": "the command line is not UTF-8",
}


@pytest.fixture(scope="module")
def answers(migrated_sqlite_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What every mistake was answered with, in a folder with an empty database."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "some.csv").write_text("ref,media\na,https://x.example/1\n")
    (folder / "some.yaml").write_text("name: x\n")
    (folder / "o.db").write_bytes(migrated_sqlite_file.read_bytes())

    def make(mistake: str) -> Any:
        return run_cli(folder, *mistake.split(), ORCHESTRATOR_DATABASE_URL="sqlite:///o.db")

    with ThreadPoolExecutor(3) as pool:
        return dict(zip(MISTAKES, pool.map(make, MISTAKES), strict=True))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_sentence(answers: dict[str, Any], mistake: str) -> None:
    done = answers[mistake]
    assert (done.returncode, done.stdout) == (2, "")
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("orchestrator: ")
    assert MISTAKES[mistake] in sentence
    assert len(sentence) < 300


def test_an_order_waits_in_the_journal_while_no_service_runs(tmp_path: Path, new_server: NewServer) -> None:
    server = new_server(f"sqlite:///{tmp_path / 'orchestrator.db'}")
    name = fresh("cmp")
    file = write(server, name)
    assert server.cli("migrate").returncode == 0
    done = server.cli("campaign", "create", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Journalled; no service is running: the next one that starts takes it up." in done.stdout
    assert "no policies are in force yet" in done.stdout
    waiting = json.loads(server.cli("messages", "list", "--status", "pending", "--json").stdout)["items"]
    assert [item["kind"] for item in waiting] == ["command"]
    server.start()
    server.wait_until_applied()
    assert [item["name"] for item in server.items("/api/campaigns")] == [name]
