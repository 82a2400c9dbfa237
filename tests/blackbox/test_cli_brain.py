"""Policies, decisions and the outbox on the command line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.conftest import SETTINGS, empty_database
from tests.blackbox.server import Server, agree, run_cli, wait_for
from tests.blackbox.story import article, fresh
from tests.conftest import BACKENDS

POLICIES = """version: 1
defaults:
  warming: {terms: [cats, dogs, birds]}
  posting: {per_day: 2, blackout: [2026-12-24..2026-12-26, 2027-01-01]}
countries:
  US:
    failure: {codes: {"upload_*": retry}, missed_after: 36h}
    platforms: {instagram: {posting: {per_day: 1}}}
"""

on_sqlite = pytest.mark.parametrize("house", ["sqlite"], indirect=True)

BAD = """version: 2
defaults:
  posting: {per_dya: 3, per_day: 9}
countries:
  "\\e[31mX": {}
"""


@pytest.fixture(scope="module", params=BACKENDS)
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A sandbox, where commands to TokPortal are recorded, with policies in force."""
    folder = tmp_path_factory.mktemp(f"brain-{request.param}")
    with empty_database(request, request.param, folder) as url:
        server = Server(folder, url, **SETTINGS, ORCHESTRATOR_MODE="sandbox")
        (folder / "config" / "policies.yaml").write_text(POLICIES)
        try:
            server.start()
            server.wait_until_applied()
            yield server
            assert server.errors() == []
        finally:
            server.close()


def in_force(server: Server) -> str:
    sha256: str = server.api("/api/policies")["sha256"]
    return sha256


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# Policies


@on_sqlite
def test_every_value_is_shown_with_where_it_comes_from(house: Server) -> None:
    house.cli("policy", "apply")
    shown = house.cli_json("policy", "show", "--country", "us", "--platform", "instagram")
    assert (shown["country"], shown["platform"], shown["sha256"]) == ("US", "instagram", digest(POLICIES))
    values = {item.pop("key"): item for item in shown["values"]}
    assert values["warming.mode"] == {"value": "advanced", "from": "default", "line": None}
    assert values["warming.terms"]["value"] == ["cats", "dogs", "birds"]
    assert values["warming.terms"]["line"] == 3
    assert values["posting.blackout"]["value"] == ["2026-12-24..2026-12-26", "2027-01-01"]
    assert values["failure.missed_after"]["value"] == "36h"
    assert values["failure.stuck_after.warming"]["value"] == "7d"
    assert values["failure.codes"]["value"] == {
        "upload_*": "retry",
        "content_*": "stop",
        "copyright_*": "stop",
        "*": "reroute",
    }
    per_day = {"value": 1, "from": "countries.US.platforms.instagram.posting.per_day (line 8)", "line": 8}
    assert values["posting.per_day"] == per_day
    wider = {item["key"]: item for item in house.cli_json("policy", "show", "--country", "FR")["values"]}
    assert (wider["posting.per_day"]["value"], wider["posting.per_day"]["line"]) == (2, 4)

    table = house.cli("policy", "show", "--country", "US", "--platform", "instagram")
    assert (table.returncode, table.stderr) == (0, "")
    assert "countries.US.platforms.instagram.posting.per_day (line 8)" in table.stdout
    assert digest(POLICIES)[:12] in table.stdout


@on_sqlite
def test_a_check_tells_everything_that_is_wrong(house: Server) -> None:
    (house.folder / "bad.yaml").write_text(BAD)
    done = house.cli("policy", "check", "bad.yaml", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    asked = house.client().post("/api/policies/check", content=BAD.encode(), headers=house.bearer("viewer"))
    assert found == asked.json()
    assert [error["line"] for error in found["errors"]] == [1, 3, 3, 5]
    assert [error["key"] for error in found["errors"][:2]] == ["version", "defaults.posting.per_dya"]
    table = house.cli("policy", "check", "bad.yaml")
    assert (table.returncode, table.stderr) == (1, "")
    assert "did you mean per_day?" in table.stdout
    assert "bad.yaml: 4 errors." in table.stdout
    assert "\x1b" not in table.stdout


@on_sqlite
def test_a_warning_is_no_error(house: Server) -> None:
    (house.folder / "odd.yaml").write_text("version: 1\ndefaults: {warming: {mode: niche}}\n")
    done = house.cli("policy", "check", "odd.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert "TokPortal's public API does not know niche warming" in done.stdout
    assert "odd.yaml: no errors." in done.stdout
    assert house.cli_json("policy", "check", "odd.yaml")["warnings"][0]["line"] == 2
    # Without a file it is the one of the service.
    assert "policies.yaml: no errors." in house.cli("policy", "check").stdout


@on_sqlite
def test_a_file_takes_effect_as_an_order_of_a_person(house: Server) -> None:
    text = f"version: 1\r\ndefaults: {{posting: {{per_day: 1}}}}  # {fresh('policies')}\r\n"
    (house.folder / "new.yaml").write_bytes(text.encode())
    given = house.cli_json("policy", "apply", "new.yaml", "--reason", "fewer posts")
    assert given["status"] == "applied"
    assert house.api(f"/api/messages/{given['message_id']}")["actor"] == {"kind": "person", "name": getuser()}
    # Read as the service reads its own file, whatever the ends of its lines.
    assert in_force(house) == digest(text.replace("\r\n", "\n"))
    again = house.cli("policy", "apply", "new.yaml")
    assert "new.yaml is in force" in again.stdout
    assert "says something else, and replaces this" in again.stdout
    house.cli("policy", "apply")
    assert in_force(house) == digest(POLICIES)


@on_sqlite
def test_a_bad_file_is_refused_with_every_problem_and_nothing_changes(house: Server) -> None:
    (house.folder / "bad.yaml").write_text(BAD)
    before = in_force(house), house.items("/api/messages")
    done = house.cli("policy", "apply", "bad.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    first, *rest = done.stderr.splitlines()
    assert first == "orchestrator: bad.yaml has 4 errors: nothing was changed"
    assert [line.split(":")[:2] for line in rest] == [["  bad.yaml", line] for line in ("1", "3", "3", "5")]
    assert "\x1b" not in done.stderr
    assert (in_force(house), house.items("/api/messages")) == before


def test_before_any_policies_the_defaults_are_shown_for_what_they_are(
    migrated_sqlite_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "o.db").write_bytes(migrated_sqlite_file.read_bytes())
    done = run_cli(tmp_path, "policy", "show", ORCHESTRATOR_DATABASE_URL="sqlite:///o.db")
    assert done.returncode == 0
    assert "No policies are in force yet" in done.stdout


def test_what_is_too_large_or_no_text_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_bytes(b"#" * (600 * 1024))
    (tmp_path / "latin.yaml").write_bytes(b"version: 1\n# caf\xe9\n")
    assert "larger than 512 KiB" in run_cli(tmp_path, "policy", "check", "large.yaml").stdout
    done = run_cli(tmp_path, "policy", "check", "latin.yaml", "--json")
    assert done.returncode == 1
    (error,) = json.loads(done.stdout)["errors"]
    assert (error["line"], error["message"]) == (2, "is not UTF-8")


# Decisions


def moved(server: Server) -> tuple[str, str, str]:
    """A video of ours that failed on one account and went to another: the video, from and to."""
    country, bundles = "NZ", [fresh("bdl"), fresh("bdl")]
    for bundle in bundles:
        for minute, event in enumerate(("created", "warming_started", "warming_completed")):
            server.deliver(article(f"bundle.{event}", bundle, minute, country=country))
    name = fresh("cmp")
    (server.folder / f"{name}.yaml").write_text(
        f"name: {name}\nvideos: [{{ref: teaser, media: 'https://cdn.example.com/1.mp4'}}]\n"
        f"targets: [{{country: {country}, platform: tiktok, accounts: 1}}]\n"
        "disclose_as_ads: true\nai_content_disclaimer: false\n"
    )
    server.wait_until_applied()
    server.cli_json("campaign", "create", f"{name}.yaml")
    server.cli_json("campaign", "start", name)

    def scheduled() -> Any:
        items = server.cli_json("videos", "list", "--campaign-id", name)["items"]
        return items[0] if items and items[0]["state"] == "scheduled" else None

    video = wait_for(scheduled, what="the video on its account")
    data = {"video_id": video["video_id"], "error_code": "account_gone", "error_message": "gone \x1b[31m\u202e"}
    server.deliver(article("video.post_failed", video["bundle_id"], 30, country=country, data=data))
    server.wait_until_applied()
    there = server.api(f"/api/videos/{video['video_id']}")["bundle_id"]
    return video["video_id"], video["bundle_id"], there


def test_a_decision_is_shown_with_its_reason_and_its_candidates(house: Server) -> None:
    video, first, second = moved(house)
    assert second not in (first, None)
    for arguments, query in {
        ("--video-id", video): f"video_id={video}",
        ("--bundle-id", second): f"bundle_id={second}",
        ("--video-id", video, "--kind", "reroute"): f"video_id={video}&kind=reroute",
    }.items():
        agree(house, ("decisions", *arguments), f"/api/decisions?{query}")
    (item,) = house.cli_json("decisions", "--video-id", video, "--kind", "reroute")["items"]
    shown = house.cli("decisions", "--video-id", video, "--kind", "reroute", "--candidates")
    assert (shown.returncode, shown.stderr) == (0, "")
    heading, reason, *candidates = shown.stdout.splitlines()
    assert all(word in heading for word in ("reroute", video, f"{first} → {second}"))
    assert reason.strip() == item["reason"]
    table = "\n".join(candidates)
    for candidate in item["candidates"]:
        assert candidate["bundle_id"] in table
        assert candidate["why"] in table
    assert "\x1b" not in shown.stdout
    assert house.cli("decisions", "--video-id", "vid_none").stdout == "Nothing found.\n"


# The outbox


def held_warming(server: Server) -> str:
    """The command that would warm a new account, which costs more than may be spent."""
    bundle = fresh("bdl")
    server.deliver(article("bundle.created", bundle))
    server.deliver(article("bundle.ready", bundle, 1))

    def look() -> Any:
        items = server.cli_json("commands", "list", "--status", "held", "--bundle-id", bundle)["items"]
        return items[0] if items else None

    command = wait_for(look, what="a command that waits for approval")
    assert command["kind"] == "start_warming"
    return str(command["command_id"])


def status_of(server: Server, command_id: str) -> str:
    status: str = server.api(f"/api/commands/{command_id}")["status"]
    return status


def test_a_held_command_is_approved_and_another_discarded(house: Server) -> None:
    house.cli("policy", "apply")
    approved, discarded = held_warming(house), held_warming(house)
    listed = house.cli("commands", "list", "--status", "held")
    assert approved in listed.stdout
    assert "credit" in listed.stdout
    agree(house, ("commands", "list", "--kind", "start_warming"), "/api/commands?kind=start_warming")
    given = house.cli_json("commands", "approve", approved, "--reason", "within the budget")
    assert given["status"] == "applied"
    wait_for(lambda: status_of(house, approved) == "done", what="the approved command's end")
    done = house.cli("commands", "discard", discarded)
    assert (done.returncode, done.stderr) == (0, "")
    assert "The command is discarded." in done.stdout
    assert status_of(house, discarded) == "discarded"
    refused = house.cli("commands", "retry", discarded)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "orchestrator: refused: a command that is discarded cannot be tried again\n"


# The journal


@on_sqlite
def test_a_message_is_retried_like_any_order(house: Server) -> None:
    message_id = house.deliver(b"{not json")
    assert house.judged(message_id)["status"] == "quarantined"
    given = house.cli("messages", "retry", message_id, "--reason", "the parser was mended")
    assert (given.returncode, given.stderr) == (1, "")
    assert f"still quarantined: {house.judged(message_id)['reason']}" in " ".join(given.stdout.split())
    orders = [item for item in house.items("/api/messages") if item["kind"] == "command" and message_id in item["body"]]
    assert [item["actor"] for item in orders] == [{"kind": "person", "name": getuser()}]
    assert json.loads(orders[0]["body"])["reason"] == "the parser was mended"
    assert house.judged(orders[0]["message_id"])["status"] in ("applied", "refused")
