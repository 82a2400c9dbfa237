"""The API of a whole service: what only shows when the door, the engine and the read models work together."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.blackbox.conftest import NewServer
from tests.blackbox.server import PUBLIC, Server, Stream, wait_for
from tests.blackbox.story import article, fresh, public

on_sqlite = pytest.mark.parametrize("server", ["sqlite"], indirect=True)


# Waiting for a state


def test_a_video_is_waited_for_until_it_is_posted(server: Server) -> None:
    bundle, video = fresh("bdl"), fresh("vid")
    server.deliver(article("video.upload_started", bundle, 1, {"video_id": video}))
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        answer = pool.submit(server.api, f"/api/videos/{video}", until="posted,abandoned", wait=20)
        seen = server.api(f"/api/videos/{video}", until="uploading", wait=20)
        assert seen["state"] == "uploading"
        assert not answer.done()
        server.deliver(article("video.posted", bundle, 2, {"video_id": video, "url": "https://x.example/1"}))
        item = answer.result()
    assert (item["state"], item["post_url"]) == ("posted", "https://x.example/1")
    assert time.monotonic() - began < 15
    # What is so already is answered at once.
    assert server.api(f"/api/videos/{video}", until="posted", wait=60)["state"] == "posted"


def test_a_video_that_nobody_knows_yet_is_waited_for_too(server: Server) -> None:
    bundle, video = fresh("bdl"), fresh("vid")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.api, f"/api/videos/{video}", until="posted", wait=20)
        server.deliver(article("video.posted", bundle, 2, {"video_id": video}))
        assert answer.result()["state"] == "posted"


def test_a_wait_that_is_over_answers_what_is_known(server: Server) -> None:
    bundle, video = fresh("bdl"), fresh("vid")
    server.deliver(article("video.upload_completed", bundle, 1, {"video_id": video}))
    server.wait_until_applied()
    began = time.monotonic()
    assert server.api(f"/api/videos/{video}", until="posted", wait=1)["state"] == "uploaded"
    assert 0.9 < time.monotonic() - began < 5
    server.api(f"/api/videos/{fresh('vid')}", 404, until="posted", wait=0)
    server.api(f"/api/videos/{video}", 400, until="sold", wait=1)


# Commands


def quarantined(server: Server) -> str:
    message_id = server.deliver(article("bundle.created", fresh("bdl"), country="Atlantis"))
    assert server.judged(message_id)["status"] == "quarantined"
    return message_id


def test_a_retry_is_journalled_like_any_message(server: Server) -> None:
    target = quarantined(server)
    answer = server.command(f"/api/messages/{target}/retry", {"reason": "it was found \u2713"})
    assert answer.status_code == 202
    command_id = answer.json()["message_id"]
    assert answer.headers["location"] == f"/api/messages/{command_id}"
    command = server.judged(command_id)
    assert (command["kind"], command["status"], command["event_id"]) == ("command", "applied", None)
    assert command["actor"]["kind"] == "person"
    assert "it was found \u2713" in command["body"]
    assert server.api(f"/api/messages/{target}")["status"] == "quarantined"


def test_a_retry_from_the_command_line(server: Server) -> None:
    target = quarantined(server)
    given = server.cli("messages", "retry", target, "--reason", "by hand", "--json")
    told = json.loads(given.stdout)
    # Nothing was mended.
    assert (given.returncode, told["status"], told["reason"]) == (1, "quarantined", server.judged(target)["reason"])
    command_id = told["message_id"]
    command = server.judged(command_id)
    assert (command["kind"], command["status"]) == ("command", "applied")
    assert command["actor"]["kind"] == "person"
    assert command["actor"]["name"]
    assert server.cli_json("messages", "show", command_id)["status"] == "applied"
    listed = server.cli_json("messages", "list", "--status", "quarantined", "--limit", "500")
    assert target in [item["message_id"] for item in listed["items"]]


def test_commands_that_the_rules_forbid_are_refused(server: Server) -> None:
    applied = server.deliver(article("bundle.created", fresh("bdl")))
    server.judged(applied)
    path = f"/api/messages/{applied}/retry"
    told = server.command(path)
    assert told.status_code == 202
    command = server.judged(told.json()["message_id"])
    assert (command["status"], bool(command["reason"])) == ("refused", True)

    waited = server.command(path, Prefer="wait=20")
    assert (waited.status_code, waited.headers["content-type"]) == (409, "application/problem+json")
    assert waited.json()["detail"] == command["reason"]
    assert server.api(waited.headers["location"])["status"] == "refused"
    # A command is no webhook, and is not given twice either.
    again = server.command(f"/api/messages/{command['message_id']}/retry", Prefer="wait=20")
    assert again.status_code == 409


@on_sqlite
def test_what_is_no_command_is_not_journalled(server: Server) -> None:
    target = quarantined(server)
    before = len(server.items("/api/messages"))
    path = f"/api/messages/{target}/retry"
    for body in ([], "x", 1, {"reason": 1}, {"reason": None, "x": 1}, {"raeson": "x"}, {"reason": "a\0b"}):
        answer = server.command(path, body)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), body
    answer = server.client().post(path, content=b"{not json")
    assert answer.status_code == 422
    assert server.command(f"/api/messages/msg_{'0' * 32}/retry").status_code == 404
    assert server.command("/api/messages/x/retry").status_code == 404
    assert len(server.items("/api/messages")) == before
    assert server.client().post(path).status_code == 202


# The log, live and later


def test_a_stream_is_resumed_where_it_was_lost(server: Server) -> None:
    bundle = fresh("bdl")
    server.wait_until_applied()
    head = server.api("/api/events", limit=1)["position"]
    with Stream(server) as stream:
        server.deliver(article("bundle.created", bundle, 1))
        stream.until(head + 2)
        last = stream.ids[-1]
    # While nobody listens, the log goes on.
    for minute, event in enumerate(("bundle.ready", "bundle.warming_started", "bundle.warming_completed"), 2):
        server.deliver(article(event, bundle, minute))
    server.wait_until_applied()
    with Stream(server, last_event_id=last) as again, Stream(server, after=head, last_event_id=last) as both:
        again.until(head + 5)
        server.deliver(article("bundle.banned", bundle, 9))
        assert [item["event"] for item in again.until(head + 6)] == [
            "BundleReady",
            "WarmingStarted",
            "WarmingCompleted",
            "BundleBanned",
        ]
        assert both.until(head + 6) == again.items
    assert stream.items + again.items == server.items("/api/events", after=head)


def test_pages_of_the_log_are_the_log(server: Server) -> None:
    for minute in range(5):
        server.deliver(article("bundle.created", fresh("bdl"), minute))
    server.wait_until_applied()
    whole = server.items("/api/events")
    assert [item["position"] for item in whole] == list(range(1, len(whole) + 1))
    pieces: list[Any] = []
    while page := server.api("/api/events", after=len(pieces), limit=97)["items"]:
        pieces += page
    assert pieces == whole
    times = [item["recorded_at"] for item in whole]
    assert [comparable(time) for time in times] == sorted(comparable(time) for time in times)


def comparable(time: str) -> tuple[str, str]:
    """Digits of the second are left out where they are noughts."""
    whole, _, fraction = time.removesuffix("Z").partition(".")
    return whole, fraction.ljust(6, "0")


@on_sqlite
def test_pages_of_lists_are_the_lists(server: Server) -> None:
    for _ in range(7):
        video = {"video_id": fresh("vid")}
        server.deliver(article("video.posted", fresh("bdl"), data=video))
    server.wait_until_applied()
    for path, name in (("bundles", "bundle_id"), ("videos", "video_id"), ("messages", "message_id")):
        whole = [item[name] for item in server.items(f"/api/{path}")]
        pieces: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = server.api(f"/api/{path}", limit=3, **({"cursor": cursor} if cursor else {}))
            assert page.keys() == {"items", "next", "position"}
            pieces += [item[name] for item in page["items"]]
            cursor = page["next"]
        assert pieces == whole
        server.api(f"/api/{path}", 400, limit=0)
        server.api(f"/api/{path}", 400, limit=501)
        server.api(f"/api/{path}", 400, cursor="x")


# Health and figures


def test_at_the_head_nothing_lags(server: Server) -> None:
    server.deliver(article("bundle.created", fresh("bdl")))
    server.wait_until_applied()
    page = server.api("/api/projections")
    head = server.api("/api/events", limit=1)["position"]
    assert {item["name"] for item in page["items"]} >= {"bundles", "videos", "countries"}
    for item in page["items"]:
        assert (item["position"], item["head"], item["lag"]) == (head, head, 0)
        assert (item["state"], item["progress"]) == ("live", None)
    bundle = server.api("/api/bundles", limit=1)
    assert bundle["position"] == bundle["items"][0]["position"] == head


def test_health_tells_what_it_looked_at(server: Server) -> None:
    for path in ("/health/live", "/health/ready", "/health/work"):
        body = wait_for(lambda path=path: server.answers(path) and server.client().get(path).json())
        assert body["status"] == "pass"
        assert {check["status"] for check in body["checks"].values()} == {"pass"}
    assert {"engine", "projections"} <= server.client().get("/health/work").json()["checks"].keys()


def test_figures_count_what_happened(server: Server) -> None:
    def outcomes() -> dict[str, float]:
        return {
            outcome: server.metric("orchestrator_webhooks_total", endpoint="default", outcome=outcome)
            for outcome in ("accepted", "duplicate", "401", "415", "challenge")
        }

    before = outcomes()
    message = article("bundle.created", fresh("bdl"))
    server.deliver(message)
    server.deliver_again(message)
    server.post_webhook(message, secret="wrong")
    server.post_webhook(message, headers={"Content-Encoding": "gzip"})
    server.client().get("/webhooks/tokportal?challenge=x")
    assert {name: count - before[name] for name, count in outcomes().items()} == dict.fromkeys(before, 1)
    server.wait_until_applied()
    assert server.metric("orchestrator_messages_pending") == 0
    assert server.metric("orchestrator_projection_lag", projection="bundles") == 0
    assert server.metric("orchestrator_log_head") == server.api("/api/events", limit=1)["position"]
    assert server.metric("orchestrator_database_readable") == 1
    wait_for(lambda: server.metric("orchestrator_messages", status="applied") > 0, what="counts by status")
    # Nobody makes up figures by knocking at doors that there are not.
    server.client().post("/webhooks/tokportal/invented", content=b"{}")
    assert "invented" not in server.client().get("/metrics").text


def test_countries_count_bundles_and_videos(server: Server) -> None:
    def row() -> dict[str, Any]:
        rows = {(item["country"], item["platform"]): item for item in server.items("/api/countries")}
        found = rows.get(("NZ", "instagram"), {"bundles": {}, "videos": {}, "postable": 0})
        return {"bundles": found["bundles"], "videos": found["videos"], "postable": found["postable"]}

    def more(counts: dict[str, int], state: str) -> dict[str, int]:
        return counts | {state: counts.get(state, 0) + 1}

    before = row()
    bundle, home = fresh("bdl"), {"country": "NZ", "platform": "instagram"}
    server.deliver(article("bundle.warming_completed", bundle, 1, **home))
    server.deliver(article("video.posted", bundle, 2, {"video_id": fresh("vid")}, **home))
    server.wait_until_applied()
    assert row() == {
        "bundles": more(before["bundles"], "completed"),
        "videos": more(before["videos"], "posted"),
        "postable": before["postable"] + 1,
    }


@on_sqlite
def test_what_is_not_there(server: Server) -> None:
    for path in ("/api", "/api/", "/api/nowhere", "/api/bundles/", "/api/bundles/x/y", "/health", "/favicon.ico"):
        answer = server.client().get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path
    for path in ("/api/bundles/none", "/api/videos/none", "/api/messages/none", "/api/bundles/none/history"):
        server.api(path, 404)
    answer = server.client().delete("/api/bundles")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    for query in ("stat=x", "limit=x", "state=sold", "platform=myspace", "postable=perhaps", "limit=1&limit=2"):
        server.api(f"/api/bundles?{query}", 400)


@on_sqlite
def test_the_api_describes_itself(server: Server) -> None:
    description = server.api("/openapi.json")
    assert description["openapi"].startswith("3.1")
    assert {"/api/bundles", "/api/messages/{id}/retry", "/api/stream", "/health/work"} <= description["paths"].keys()
    page = server.client().get("/docs")
    assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (200, "text/html")
    assert "<script" not in page.text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_frozen_worker_shows_and_delays_nothing_but_itself(database_url: str, new_server: NewServer) -> None:
    """Ten seconds of silence are what health calls silence. What comes meanwhile is stored."""
    server = new_server(database_url).start()
    wait_for(lambda: server.answers("/health/work"), what="work")
    workers = {name: server.worker(name) for name in ("engine", "projections")}
    for pid in workers.values():
        os.kill(pid, signal.SIGSTOP)
    try:
        message = article("bundle.created", fresh("bdl"))
        message_id = server.deliver(message)
        wait_for(lambda: server.client().get("/health/work").status_code == 503, what="a complaint")
        failing = server.client().get("/health/work").json()
        assert failing["status"] == "fail"
        wait_for(
            lambda: (
                {
                    name
                    for name, check in server.client().get("/health/work").json()["checks"].items()
                    if check["status"] == "fail"
                }
                == set(workers)
            ),
            what="both named",
        )
        assert server.answers("/health/ready")
        assert server.api(f"/api/messages/{message_id}")["status"] == "pending"
        assert [item["message_id"] for item in server.items("/api/messages", status="pending")] == [message_id]
        assert server.deliver_again(message) == message_id
    finally:
        for pid in workers.values():
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: server.answers("/health/work"), what="work that goes on")
    assert server.judged(message_id)["status"] == "applied"
    server.wait_until_applied()
    assert len(server.items(f"/api/bundles/{message['bundle_id']}/history")) == 1


def test_readers_and_writers_do_not_disturb_each_other(server: Server) -> None:
    """Lists are read page by page while the state that they show changes."""
    stopped = threading.Event()
    bundles = [fresh("bdl") for _ in range(20)]

    def write() -> None:
        minute = 0
        while minute < 40 or not stopped.is_set():
            minute += 1
            server.deliver(article("bundle.ready", bundles[minute % 20], minute / 60))
            account = {"bundle_id": bundles[minute % 20], "country": "US", "platform": "tiktok"}
            server.deliver(public("warming.term_verified", minute / 60, data=account), PUBLIC)

    def read() -> None:
        for path in ("bundles", "videos", "messages", "events", "countries", "projections"):
            positions = [server.api(f"/api/{path}", limit=5)["position"] for _ in range(4)]
            assert positions == sorted(positions)
        assert server.client().get("/metrics").status_code == 200

    with ThreadPoolExecutor(4) as pool:
        writing = pool.submit(write)
        try:
            for reading in [pool.submit(read) for _ in range(6)]:
                reading.result()
        finally:
            stopped.set()
        writing.result()
    server.wait_until_applied()
    assert {server.api(f"/api/bundles/{bundle}")["state"] for bundle in bundles} == {"ready"}
