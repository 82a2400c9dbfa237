from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from orchestrator.secrets import (
    Secret,
    SecretError,
    forget_webhook_secret,
    known_sandbox_secret,
    sandbox_secret,
    split_secrets,
    store_webhook_secret,
    stored_secrets,
    stored_version,
    stored_webhook_secret,
)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_secret_masks_itself() -> None:
    secret = Secret("canary")
    mask = f"***{sha256(b'canary').hexdigest()[:8]}"
    assert str(secret) == f"{secret}" == "%s" % secret == mask  # noqa: UP031
    assert f"{secret:>20}" == f"{mask:>20}"
    assert repr(secret) == f"Secret('{mask}')"
    assert not hasattr(secret, "__dict__")
    assert secret.reveal() == "canary"


def test_secret_with_a_mask_of_its_own() -> None:
    assert str(Secret("https://u:p@h", "https://u:***@h")) == "https://u:***@h"


def test_secrets_are_equal_by_value() -> None:
    assert Secret("a") == Secret("a", "shown")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_secret_of_bytes_that_are_no_text() -> None:
    secret = Secret(os.fsdecode(b"\xff\xfe"))
    assert secret.fingerprint == sha256(b"\xff\xfe").hexdigest()[:8]
    assert secret == Secret("\udcff\udcfe")


def test_split() -> None:
    assert split_secrets(" a , ,b,a,") == (Secret("a"), Secret("b"))
    assert split_secrets("") == ()


def test_sandbox_secret_is_made_once(tmp_path: Path) -> None:
    data_dir = tmp_path / "not" / "yet"
    secret = sandbox_secret(data_dir)
    assert len(secret.reveal()) == 64
    assert sandbox_secret(data_dir) == secret
    assert known_sandbox_secret(data_dir) == secret
    assert stored_secrets(data_dir) == []
    assert known_sandbox_secret(tmp_path) is None
    assert sandbox_secret(tmp_path / "other") != secret


def test_sandbox_secret_is_for_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o755)
    sandbox_secret(tmp_path)
    assert mode_of(tmp_path / "secrets") == 0o700
    assert mode_of(tmp_path / "secrets" / "sandbox") == 0o600
    assert names_in(tmp_path / "secrets") == ["sandbox"]


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        secrets = list(pool.map(sandbox_secret, [tmp_path] * 64))
    assert len(set(secrets)) == 1
    assert names_in(tmp_path / "secrets") == ["sandbox"]


def test_the_first_of_two_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both saw no file; the other was faster."""
    link = os.link

    def late(draft: Path, path: Path) -> None:
        path.write_text("theirs\n")
        link(draft, path)

    monkeypatch.setattr(os, "link", late)
    assert sandbox_secret(tmp_path) == Secret("theirs")
    assert names_in(tmp_path / "secrets") == ["sandbox"]


def test_nothing_is_left_of_a_failed_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        sandbox_secret(tmp_path)
    assert names_in(tmp_path / "secrets") == []


def test_blank_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "sandbox").write_text("\n")
    with pytest.raises(ValueError, match="holds no secret: delete the file"):
        sandbox_secret(tmp_path)


def test_stored_secrets(tmp_path: Path) -> None:
    assert stored_secrets(tmp_path) == []
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name, text in {
        "webhook": "a\n",
        "webhook-wh_2": " b ",
        "webhook-blank": "\n",
        "other": "c",
        ".webhook.1": "d",
    }.items():
        (folder / name).write_text(text)
    (folder / "webhooks").mkdir()
    assert stored_secrets(tmp_path) == [Secret("a"), Secret("b")]


def test_secret_of_an_endpoint(tmp_path: Path) -> None:
    before = stored_version(tmp_path)
    assert stored_webhook_secret(tmp_path, "wh_1") is None
    store_webhook_secret(tmp_path, "wh_1", "canary")
    store_webhook_secret(tmp_path, "wh_1", "canary")
    store_webhook_secret(tmp_path, "wh_2", "other")
    assert mode_of(tmp_path / "secrets" / "webhook-wh_1") == 0o600
    assert stored_webhook_secret(tmp_path, "wh_1") == Secret("canary")
    assert stored_secrets(tmp_path) == [Secret("canary"), Secret("other")]
    assert stored_version(tmp_path) != before
    with pytest.raises(SecretError, match="another secret already"):
        store_webhook_secret(tmp_path, "wh_1", "changed")
    assert stored_webhook_secret(tmp_path, "wh_1") == Secret("canary")
    between = stored_version(tmp_path)
    assert forget_webhook_secret(tmp_path, "wh_1")
    assert not forget_webhook_secret(tmp_path, "wh_1")
    assert stored_secrets(tmp_path) == [Secret("other")]
    assert stored_version(tmp_path) not in (before, between)


@pytest.mark.parametrize("name", ["../webhook", "a/b", "", ".", "..", "a" * 200, "a\x00b", "é"])
def test_ids_that_name_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(SecretError, match="cannot name a file"):
        store_webhook_secret(tmp_path, name, "canary")
    assert stored_webhook_secret(tmp_path, name) is None
    assert not forget_webhook_secret(tmp_path, name)
    assert list(tmp_path.iterdir()) == []
