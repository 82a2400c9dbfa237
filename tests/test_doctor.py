from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from orchestrator import doctor
from orchestrator.database import Database
from orchestrator.database.tables import facts_of_database
from orchestrator.doctor import Finding, examine, report
from orchestrator.settings import Settings
from tests.postgres import PostgresServer

SECRET = "0123456789abcdef"
CANARY = "canary-7c1f-0123456789"
Look = Callable[..., dict[str, Finding]]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """The worst finding on each subject, in a folder of its own. Variables go without `ORCHESTRATOR_`."""

    def look(**variables: str) -> dict[str, Finding]:
        settings = Settings.load(
            {
                name if name.startswith("TOKPORTAL_") else f"ORCHESTRATOR_{name}": text
                for name, text in variables.items()
            },
            tmp_path,
        )
        order = ["ok", "warning", "error"]
        return {
            finding.what: finding for finding in sorted(examine(settings), key=lambda found: order.index(found.level))
        }

    return look


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at at TokPortal has tests of its own."""
    monkeypatch.setattr(doctor, "examine_tokportal", lambda settings, key: iter(()))


def levels(findings: dict[str, Finding], level: str) -> list[str]:
    return [what for what, finding in findings.items() if finding.level == level]


def execute(url: str, *statements: str | sa.Executable) -> None:
    database = Database(url, connections=1)
    try:
        with database.write() as connection:
            for statement in statements:
                connection.execute(sa.text(statement) if isinstance(statement, str) else statement)
    finally:
        database.close()


def test_before_the_first_start(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    findings = look(MODE="sandbox")
    # Search terms, a budget and a channel for alerts are a newcomer's to choose.
    assert levels(findings, "warning") == ["policies.yaml"]
    assert levels(findings, "error") == []
    assert "will be made" in findings["database"].detail
    assert "will be made" in findings["data folder"].detail
    assert "one is made" in findings["webhook secrets"].detail
    assert list(tmp_path.iterdir()) == []


def test_a_migrated_database(look: Look, migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    findings = look(DATABASE_URL=migrated_url, MODE="live", TOKPORTAL_API_KEY=SECRET, TOKPORTAL_WEBHOOK_SECRET=SECRET)
    # Search terms, a budget and a channel for alerts are a newcomer's to choose.
    assert levels(findings, "warning") == ["policies.yaml"]
    assert levels(findings, "error") == []
    assert "up to date" in findings["schema"].detail
    assert "it will be 'tokportal'" in findings["world"].detail
    if migrated_url.startswith("sqlite"):
        assert findings["write-ahead log"].detail == "on"
    else:
        assert "survives" in findings["durability"].detail
        assert findings["PostgreSQL"].detail


def test_an_empty_database(look: Look, database_url: str) -> None:
    if database_url.startswith("sqlite"):
        Path(database_url.removeprefix("sqlite:///")).touch()
    findings = look(DATABASE_URL=database_url)
    assert findings["schema"].level == "ok"
    assert "none yet" in findings["schema"].detail
    assert "world" not in findings


def test_a_database_that_is_behind(look: Look, migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "head", lambda: "9999")
    finding = look(DATABASE_URL=migrated_url)["schema"]
    assert finding.level == "warning"
    assert "not yet at 9999: run `orchestrator migrate`" in finding.detail


def test_a_database_of_a_newer_program(look: Look, migrated_url: str) -> None:
    execute(migrated_url, "UPDATE alembic_version SET version_num = 'future'")
    finding = look(DATABASE_URL=migrated_url)["schema"]
    assert finding.level == "error"
    assert "a newer one was here" in finding.detail


@pytest.mark.parametrize(("mode", "level"), [("sandbox", "ok"), ("observe", "error")])
def test_world(look: Look, migrated_url: str, mode: str, level: str) -> None:
    execute(migrated_url, facts_of_database.insert().values(key="world", value="sandbox"))
    assert look(DATABASE_URL=migrated_url, MODE=mode)["world"].level == level


def test_server_that_does_not_answer(look: Look) -> None:
    finding = look(DATABASE_URL=f"postgresql://u:{CANARY}@127.0.0.1:1/db")["database"]
    assert finding.level == "error"
    assert finding.detail.startswith("postgresql://u:***@127.0.0.1:1/db does not answer: ")
    assert "\n" not in finding.detail


@pytest.mark.parametrize("url", ["sqlite:///file.db", "sqlite:///folder"])
def test_file_that_is_no_database(look: Look, tmp_path: Path, url: str) -> None:
    (tmp_path / "file.db").write_bytes(b"\xff" * 8192)
    (tmp_path / "folder").mkdir()
    assert look(DATABASE_URL=url)["database"].level == "error"


def test_folder_that_cannot_be_made(look: Look, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    findings = look(DATABASE_URL="postgresql://127.0.0.1:1/db")
    assert findings["data folder"].level == "error"
    assert findings["disk space"].level == "ok"


def test_database_whose_folder_is_a_file(look: Look, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    assert look()["data folder"].level == "error"


def test_folder_that_is_read_only(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    (tmp_path / "data").mkdir()
    finding = look()["data folder"]
    assert (finding.level, finding.detail) == ("error", f"{tmp_path / 'data'} is not writable: Read-only file system")


def test_missing_folder_in_one_that_is_read_only(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    assert look()["data folder"].level == "error"


class Usage(NamedTuple):
    free: int


@pytest.mark.parametrize(("free", "level"), [(2 * 1024**3, "ok"), (500 * 1024**2, "warning"), (50 * 1024**2, "error")])
def test_disk_space(look: Look, monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free))
    assert look()["disk space"].level == level


# SQLite and PostgreSQL


@pytest.mark.parametrize(("version", "level"), [((3, 34, 1), "error"), ((3, 40, 1), "ok"), ((3, 53, 0), "ok")])
def test_sqlite_version(look: Look, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], level: str) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    assert look()["SQLite"].level == level


def test_write_ahead_log_that_cannot_be_had(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.database.connection.Database._tune_sqlite", lambda *_: None)
    (tmp_path / "x.db").touch()
    finding = look(DATABASE_URL="sqlite:///x.db")["write-ahead log"]
    assert finding.level == "error"
    assert "journal mode delete" in finding.detail


def test_postgres_that_forgets(look: Look, postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    execute(url, f"ALTER DATABASE {sa.make_url(url).database} SET synchronous_commit = off")
    finding = look(DATABASE_URL=url)["durability"]
    postgres_server.drop_database(url)
    assert finding.level == "warning"
    assert finding.detail.startswith("synchronous_commit off: ")


# Settings and webhooks


def test_warnings_of_settings(look: Look) -> None:
    assert look(MOED="live")["settings"] == Finding(
        "warning", "settings", "ORCHESTRATOR_MOED is not a setting: did you mean ORCHESTRATOR_MODE?"
    )


def test_a_token_that_can_be_guessed_is_a_warning(look: Look) -> None:
    finding = look(API_TOKENS="ops:admin:canary")["settings"]
    assert finding.level == "warning"
    assert "token in entry 1" in finding.detail
    assert "canary" not in finding.detail


@pytest.mark.parametrize(("mode", "level"), [("live", "ok"), ("observe", "ok"), ("sandbox", "ok")])
def test_modes(look: Look, mode: str, level: str) -> None:
    finding = look(MODE=mode, TOKPORTAL_API_KEY=SECRET)["mode"]
    assert finding.level == level
    assert finding.detail.startswith(mode)


def test_tokportal_is_asked_with_a_key(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine_tokportal", lambda settings, key: [("error", "credits", key.reveal())])
    assert look(TOKPORTAL_API_KEY=SECRET)["credits"].level == "error"
    assert SECRET not in look(TOKPORTAL_API_KEY=SECRET)["credits"].detail
    assert "credits" not in look()
    assert "credits" not in look(MODE="sandbox", TOKPORTAL_API_KEY=SECRET)


def test_observing_without_a_key(look: Look) -> None:
    assert look()["mode"].level == "warning"


def test_plain_public_url(look: Look) -> None:
    variables = {"PUBLIC_URL": "http://hooks.example.com", "TRUSTED_PROXIES": "127.0.0.1"}
    assert look(**variables)["public URL"].level == "warning"
    assert "public URL" not in look(**variables, REQUIRE_HTTPS="false")
    assert look(API_TOKENS=f"ops:admin:{SECRET}")["API tokens"].detail == "1 set"


@pytest.mark.parametrize(("mode", "level"), [("live", "error"), ("observe", "warning"), ("sandbox", "ok")])
def test_no_webhook_secret(look: Look, mode: str, level: str) -> None:
    assert look(MODE=mode, TOKPORTAL_API_KEY=SECRET)["webhook secrets"].level == level


def test_secret_that_can_be_guessed(look: Look) -> None:
    finding = look(TOKPORTAL_WEBHOOK_SECRET="canary")["webhook secrets"]
    assert finding.level == "warning"
    assert "can be guessed" in finding.detail
    assert "canary" not in finding.detail


def test_stored_secret(look: Look, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "secrets"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "webhook-1").write_text(SECRET)
    (folder / "webhook-1").chmod(0o600)
    assert look()["webhook secrets"] == Finding("ok", "webhook secrets", "1 for default")
    (folder / "audit-key.pub").write_text("public")
    (folder / "audit-key.pub").chmod(0o644)
    assert look()["webhook secrets"].level == "ok"
    (folder / "webhook-1").chmod(0o640)
    assert look()["webhook secrets"].level == "warning"
    assert "webhook-1: run chmod go=" in look()["webhook secrets"].detail


def test_stored_secret_that_cannot_be_read(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied", "webhook-1")

    monkeypatch.setattr(doctor, "stored_secrets", refuse)
    assert look()["webhook secrets"].detail == "webhook-1 cannot be read: Permission denied"


def test_endpoints(look: Look, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "webhooks.yaml"
    assert look()["webhooks.yaml"].detail == "not there: default"
    file.write_text("endpoints: {a: {secrets: [env:A_SECRET]}}")
    assert look()["webhooks.yaml"].level == "warning"
    (tmp_path / ".env").write_text(f"A_SECRET={CANARY}\n")
    findings = look(MODE="live", TOKPORTAL_API_KEY=SECRET)
    assert findings["webhooks.yaml"].detail == "valid: a, default"
    assert findings["webhook secrets"].detail == "1 for a"
    file.write_text("endpoints:\n  a: {secrets: [b]}\n")
    assert look()["webhooks.yaml"].level == "error"
    assert "webhooks.yaml, line 2: " in look()["webhooks.yaml"].detail


# Policies


def test_policies(look: Look, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "policies.yaml"
    assert look()["policies.yaml"] == Finding(
        "warning", "policies.yaml", "not there: nothing is decided until policies are in force"
    )
    file.write_text("defaults: {warming: {mode: none}}")
    assert look()["policies.yaml"].level == "warning"
    assert "OPS_ALERT_URL is not set" in look()["policies.yaml"].detail
    (tmp_path / ".env").write_text(f"OPS_ALERT_URL=json://{CANARY}\n")
    assert look()["policies.yaml"].level == "ok"
    file.write_text("defaults:\n  warming: {mode: fast}")
    finding = look()["policies.yaml"]
    assert finding.level == "error"
    assert finding.detail.startswith("line 2: defaults.warming.mode: must be one of none, niche, deep, advanced")
    file.write_bytes(b"a: \xff")
    assert look()["policies.yaml"].detail == "line 1: this is not UTF-8: save the file as UTF-8"
    file.unlink()
    file.mkdir()
    assert look()["policies.yaml"].detail == "cannot be read: Is a directory"


# The whole


def test_what_fails_is_a_finding(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> None:
        raise RuntimeError(f"no {SECRET}\nat all")

    monkeypatch.setattr(shutil, "disk_usage", fail)
    finding = look(TOKPORTAL_API_KEY=SECRET)["doctor"]
    assert finding.level == "error"
    assert finding.detail.startswith("examine_files failed: no ***")
    assert "\n" not in finding.detail


def test_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.load({"ORCHESTRATOR_PORT": "9000"}, tmp_path)
    found = report(settings)
    assert found.settings == settings.effective
    assert found.is_healthy
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0))
    assert not report(settings).is_healthy


def test_no_secret_shows(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "webhooks.yaml").write_text("endpoints: {a: {secrets: [env:A]}}")
    (tmp_path / "data" / "secrets").mkdir(parents=True)
    (tmp_path / "data" / "secrets" / "webhook-canary").write_text(CANARY)
    (tmp_path / "data" / "secrets" / "webhook-2").write_text("canary")
    (tmp_path / ".env").write_text(f"A={CANARY}-a\nTOKPORTAL_API_KEY={CANARY}-key\nCANARY\nORCHESTRATOR_X={CANARY}\n")
    settings = Settings.load(
        {
            "ORCHESTRATOR_DATABASE_URL": f"postgresql://u:{CANARY}-pw@127.0.0.1:1/db?password={CANARY}",
            "ORCHESTRATOR_API_TOKENS": f"ops:admin:{CANARY}-token",
            "TOKPORTAL_WEBHOOK_SECRET": f"{CANARY}-hook,canary1",
        },
        tmp_path,
    )
    shown = repr(report(settings))
    assert "canary" not in shown
    assert "database" in shown
