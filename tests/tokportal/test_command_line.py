"""`orchestrator webhooks` against the look-alike, over a real socket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from orchestrator.sandbox.rest import create_app
from orchestrator.sandbox.world import World
from tests.tokportal.fake import KEY

PUBLIC = "http://127.0.0.1:9/hooks"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    """Its base URL."""
    with closing(World()) as world:
        server = uvicorn.Server(uvicorn.Config(create_app(world), port=0, log_config=None, lifespan="off", ws="none"))
        ready = threading.Event()
        startup = server.startup

        async def started(sockets: Any = None) -> None:
            await startup(sockets)
            ready.set()

        server.startup = started  # type: ignore[method-assign]
        thread = threading.Thread(target=server.run)
        thread.start()
        assert ready.wait(20)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/api/ext"
        server.should_exit = True
        thread.join()


@pytest.fixture
def run(sandbox: str, tmp_path: Path) -> Any:
    def run(*words: str, code: int = 0, **environment: str) -> str:
        settings = {"TOKPORTAL_BASE_URL": sandbox, "TOKPORTAL_API_KEY": KEY, "ORCHESTRATOR_PUBLIC_URL": PUBLIC}
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", *words],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], **settings, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert KEY not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if code == 2 else done.stdout

    return run


def test_the_life_of_an_endpoint(run: Any, tmp_path: Path) -> None:
    made = json.loads(run("webhooks", "register", "--events", "account.banned, video.finalized", "--json"))
    assert (made["url"], made["created"]) == (f"{PUBLIC}/webhooks/tokportal", True)
    assert made["events"] == ["account.banned", "video.finalized"]
    file = tmp_path / "data" / "secrets" / f"webhook-{made['id']}"
    assert file.read_text().strip() not in json.dumps(made)
    assert "already" in run("webhooks", "register")
    listed = run("webhooks", "list")
    assert made["id"] in listed and made["secret"] in listed
    assert len(json.loads(run("webhooks", "list", "--json"))["items"]) == 1
    tried = json.loads(run("webhooks", "test", made["id"], "--json", code=1))
    assert tried["success"] is False, "this look-alike sends nothing"
    assert "is deleted" in run("webhooks", "delete", made["id"])
    assert not file.exists()
    assert json.loads(run("webhooks", "list", "--json"))["items"] == []


def test_mistakes_are_one_sentence(run: Any) -> None:
    for words, environment, sentence in [
        (("register",), {"TOKPORTAL_API_KEY": ""}, "TOKPORTAL_API_KEY is not set"),
        (("register", "--url", "http://hooks.example.com"), {}, "HTTPS only"),
        (("register", "--events", "account.baned"), {}, "did you mean account.banned?"),
        (("delete", "nothing"), {}, "TokPortal has no endpoint nothing"),
        (("list",), {"TOKPORTAL_BASE_URL": "http://127.0.0.1:9"}, "cannot be reached"),
        (("list",), {"TOKPORTAL_API_KEY": "wrong"}, "does not accept the key"),
    ]:
        said = run("webhooks", *words, code=2, **environment)
        assert sentence in said
        assert said.count("\n") == 1


def test_the_doctor_looks_at_tokportal(run: Any) -> None:
    found = {
        finding["what"]: finding
        for finding in json.loads(run("doctor", "--json", TOKPORTAL_WEBHOOK_SECRET="0123456789abcdef"))["findings"]
    }
    assert found["TokPortal's key"]["level"] == "ok"
    assert found["credits"]["detail"] == "1,000,000"
    assert "orchestrator webhooks register" in found["webhook registration"]["detail"]
    run("doctor", code=1, TOKPORTAL_API_KEY="wrong")
