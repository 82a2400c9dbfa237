from __future__ import annotations

import asyncio
import hmac
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from orchestrator.clock import RealClock
from orchestrator.journal.group_commit import JournalUnavailableError
from orchestrator.secrets import Secret, forget_webhook_secret, store_webhook_secret, stored_secrets, stored_version
from orchestrator.service import build_door
from orchestrator.settings import Settings
from orchestrator.webhooks.renewing import RenewingVerifier

BODY = b"{}"


class Shelf:
    """A verifier on the folder of secrets, on a clock that the test sets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.reads = 0
        self.broken = False
        self.verifier = RenewingVerifier(self.read, lambda: stored_version(folder), lambda: self.now)

    def read(self) -> Sequence[Secret]:
        self.reads += 1
        if self.broken:
            raise PermissionError(13, "Permission denied")
        return stored_secrets(self.folder)

    def takes(self, secret: str) -> bool:
        signature = hmac.new(secret.encode(), BODY, sha256).hexdigest().encode()
        return self.verifier.verify(iter([(b"x-tokportal-signature", signature)]), BODY, 0.0) is not None


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    store_webhook_secret(tmp_path, "wh_1", "first")
    return Shelf(tmp_path)


def test_a_new_secret_counts_at_once(shelf: Shelf) -> None:
    assert shelf.takes("first") and not shelf.takes("second")
    store_webhook_secret(shelf.folder, "wh_2", "second")
    assert shelf.takes("second") and shelf.takes("first")


def test_a_deleted_one_counts_a_second_longer_at_most(shelf: Shelf) -> None:
    store_webhook_secret(shelf.folder, "wh_2", "second")
    assert shelf.takes("second")
    forget_webhook_secret(shelf.folder, "wh_1")
    assert shelf.takes("first")
    shelf.now += 1
    assert not shelf.takes("first") and shelf.takes("second")


def test_bad_signatures_cost_no_reading(shelf: Shelf) -> None:
    for _ in range(100):
        assert not shelf.takes("stranger")
        shelf.now += 0.5
    assert shelf.reads == 1


def test_a_folder_that_cannot_be_read_leaves_what_was_known(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    store_webhook_secret(shelf.folder, "wh_2", "second")
    shelf.broken = True
    assert not shelf.takes("second") and shelf.takes("first")
    assert "those from before stay" in caplog.text
    shelf.broken = False
    assert shelf.takes("second")


def test_without_any_secret_nobody_is_let_in(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    assert not shelf.takes("") and not shelf.takes("first")
    store_webhook_secret(tmp_path, "wh_1", "first")
    assert shelf.takes("first")


def test_the_door_of_a_running_service(tmp_path: Path) -> None:
    """What is let in meets a journal that is out of order here, and is answered 503."""

    class Closed:
        async def append(self, *_: object) -> None:
            raise JournalUnavailableError

    door = build_door(Settings.load({}, tmp_path), Closed(), RealClock())  # type: ignore[arg-type]

    def knock(secret: str) -> int:
        signature = hmac.new(secret.encode(), BODY, sha256).hexdigest().encode()
        headers = [(b"x-tokportal-signature", signature)]
        scope = {"type": "http", "method": "POST", "path": "/webhooks/tokportal", "headers": headers, "scheme": "http"}
        answers: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": BODY}

        async def send(message: Any) -> None:
            answers.append(message)

        asyncio.run(door({**scope, "client": ("127.0.0.1", 1)}, receive, send))  # type: ignore[arg-type]
        return int(answers[0]["status"])

    assert knock("first") == 401
    store_webhook_secret(tmp_path / "data", "wh_1", "first")
    assert knock("first") == 503
