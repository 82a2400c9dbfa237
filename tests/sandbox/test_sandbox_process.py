"""`orchestrator sandbox` as others meet it: a process with a port, whose client is the vendor's SDK."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

import pytest
from tokportal import TokPortal, verify_webhook_signature

from orchestrator.cli import main
from tests.blackbox.server import wait_for
from tests.sandbox.house import KEY

ROOT = Path(__file__).parents[2]
SECRET = "tp_test_secret_of_the_sandbox"
CLOCK = "2026-12-01T08:00:00Z@50000"
WORLD = """
seed: 11
parameters: {lead_days_new: 0}
managers:
  accepts_bundle: [0, 600]
  creates_account: [3600, 7200]
  account_review: at_once
  accepts_video: [0, 600]
  window_used: 0.5
  misses: 0
  fails: 0
  bans_per_account_year: 0
accounts:
  - {country: NO, state: warm, slots: 3}
"""


class Ear:
    """A receiver that checks what it is sent."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.forged = 0
        ear = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if verify_webhook_signature(body, self.headers["TokPortal-Signature"], SECRET):
                    ear.bodies.append(json.loads(body))
                else:
                    ear.forged += 1
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def types(self, bundle_id: str) -> list[str]:
        bodies = {body["id"]: body for body in self.bodies if body["data"].get("bundle_id") == bundle_id}
        return [body["type"] for body in sorted(bodies.values(), key=lambda body: str(body["created_at"]))]


STORY = [
    "bundle.created",
    "account.configured",
    "video.configured",
    "bundle.published",
    "account.published",
    "video.published",
    "account.in_review",
    "account.finalized",
    "video.in_review",
    "video.finalized",
]


class Sandbox:
    def __init__(self, folder: Path, *arguments: str) -> None:
        self._log = (folder / "sandbox.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "sandbox", "--port", "0", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "HOOK_SECRET": SECRET},
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), (folder / "sandbox.log").read_text()
        self.url = line.removeprefix("listening on ").strip()

    def sdk(self) -> TokPortal:
        return TokPortal(KEY, f"{self.url}/api/ext")

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}/sandbox{path}", data, method=method)
        with urlopen(request) as response:
            return json.load(response)

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(30)
        self.close()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self._log.close()


@pytest.fixture
def ear() -> Iterator[Ear]:
    ear = Ear()
    yield ear
    ear.close()


@pytest.fixture
def sandboxes() -> Iterator[list[Sandbox]]:
    started: list[Sandbox] = []
    yield started
    for sandbox in started:
        sandbox.close()


def test_a_bundle_that_the_sdk_bought_is_posted_by_managers_through_a_kill(
    tmp_path: Path, ear: Ear, sandboxes: list[Sandbox]
) -> None:
    (tmp_path / "world.yaml").write_text(WORLD)
    arguments = (
        *("--world", str(tmp_path / "world.yaml"), "--state", str(tmp_path / "state" / "world.db"), "--clock", CLOCK),
        *("--webhook", ear.url, "--webhook-secret-env", "HOOK_SECRET"),
    )
    sandboxes.append(sandbox := Sandbox(tmp_path, *arguments))
    sdk = sandbox.sdk()
    bought = sdk.bundles.create(
        {
            "bundle_type": "account_and_videos",
            "platform": "tiktok",
            "country": "FR",
            "videos_quantity": 2,
            "external_ref": "order-1",
        },
        idempotency_key="order-1",
    )
    bundle_id = bought["data"]["bundle_id"]
    sdk.bundles.configure_account(bundle_id, {"username": "acme.fr", "visible_name": "Acme"})
    now = datetime.fromisoformat(sandbox.admin("GET", "/truth")["now"])
    video = {
        "video_type": "video",
        "video_url": "https://cdn.example.com/1.mp4",
        "description": "hello",
        "target_publish_date": (now + timedelta(days=2)).date().isoformat(),
        "external_ref": "video-1",
    }
    sdk.bundles.configure_video(bundle_id, 1, video, idempotency_key="video-1")
    sdk.bundles.publish(bundle_id)
    wait_for(lambda: "account.finalized" in ear.types(bundle_id))

    # Nothing is told to it, and nothing is closed.
    sandbox.end(signal.SIGKILL)
    sandboxes.append(sandbox := Sandbox(tmp_path, *arguments))

    # What was under way in the kill is sent again, after what came later.
    wait_for(lambda: len(ear.types(bundle_id)) == len(STORY))
    assert ear.forged == 0
    assert ear.types(bundle_id) == STORY
    truth = sandbox.admin("GET", "/truth")
    (post,) = truth["posts"]
    assert (post["bundle_id"], post["external_ref"], post["username"]) == (bundle_id, "video-1", "acme.fr")
    assert truth["violations"] == [] and truth["doubles"] == []
    assert sandbox.sdk().bundles.get(bundle_id)["data"]["saved_account_id"] == post["saved_account_id"]
    # The account of the file was made once, and Norway is no word for false.
    assert sorted(row["country"] for row in truth["bundles"]) == ["FR", "NO"]
    assert sandbox.end(signal.SIGTERM) == 0


def test_a_world_of_its_own_clock_ends_with_its_parent(tmp_path: Path, sandboxes: list[Sandbox]) -> None:
    state = str(tmp_path / "world.db")
    sandboxes.append(sandbox := Sandbox(tmp_path, "--with-parent", "--demo", "--state", state, "--clock", CLOCK))
    first = sandbox.admin("GET", "/truth")
    assert first["dialect"] == "article" and len(first["bundles"]) > 20
    assert sandbox.process.stdin is not None
    sandbox.process.stdin.close()
    assert sandbox.wait() == 0
    # What the clock was, it still is: its time went on meanwhile.
    sandboxes.append(sandbox := Sandbox(tmp_path, "--state", state))
    second = sandbox.admin("GET", "/truth")
    assert second["now"] > first["now"] and len(second["bundles"]) == len(first["bundles"])


def test_a_stranger_is_taken_in_where_it_may_be(tmp_path: Path, sandboxes: list[Sandbox]) -> None:
    sandboxes.append(sandbox := Sandbox(tmp_path, "--adopt"))
    slots = sandbox.sdk().bundles.list_videos("bdl_of_somebody")["data"]
    assert len(slots) == 100
    assert sandbox.admin("GET", "/truth")["bundles"] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--world", "WORLD", "--demo"), "either --world or --demo"),
        (("--world", "missing.yaml"), "missing.yaml"),
        (("--world", "WORLD"), "unknown field `missses` - at `managers`"),
        (("--clock", "tomorrow"), "EPOCH@SPEED"),
        (("--began", "2026-12-01T08:00:00Z"), "goes with --clock"),
        (("--clock", CLOCK, "--began", "noon"), "'noon'"),
        (("--webhook", "http://127.0.0.1/"), "go together"),
        (("--webhook", "http://127.0.0.1/", "--webhook-secret-env", "UNSET"), "UNSET is not set"),
        (("--webhook", "ftp://x", "--webhook-secret-env", "HOME"), "http://"),
        (("--dialect", "welsh"), "article or 2026-05-25"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(
    tmp_path: Path,
    arguments: tuple[str, ...],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = tmp_path / "world.yaml"
    world.write_text("managers: {missses: 1}\n")
    given = [str(world) if argument == "WORLD" else argument for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["orchestrator", "sandbox", "--port", "0", *given])
    with pytest.raises(SystemExit) as stopped:
        main()
    written = capsys.readouterr()
    assert stopped.value.code == 2 and written.out == ""
    assert sentence in written.err
    assert written.err.startswith("orchestrator: ") and written.err.count("\n") == 1


def test_the_world_of_another_seed_is_not_taken(tmp_path: Path, sandboxes: list[Sandbox]) -> None:
    state = str(tmp_path / "world.db")
    sandboxes.append(sandbox := Sandbox(tmp_path, "--state", state, "--seed", "1"))
    assert sandbox.end(signal.SIGTERM) == 0
    command = [sys.executable, "-m", "orchestrator", "sandbox", "--port", "0", "--state", state, "--seed", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "seed 1, not 2" in done.stderr


def test_a_taken_port_is_said(tmp_path: Path, sandboxes: list[Sandbox]) -> None:
    sandboxes.append(sandbox := Sandbox(tmp_path))
    port = sandbox.url.rpartition(":")[2]
    began = time.monotonic()
    command = [sys.executable, "-m", "orchestrator", "sandbox", "--port", port]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "already in use" in done.stderr
    assert time.monotonic() - began < 30
