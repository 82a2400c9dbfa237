"""`orchestrator audit`, `backup` and `restore`, as programs of their own."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.audit import build
from orchestrator.clock import RealClock
from orchestrator.settings import Settings
from tests.audit.logs import Log

Run = Callable[..., "subprocess.CompletedProcess[str]"]
CANARY = "c0ffee" * 10 + "c0ff"


@pytest.fixture
def run(log: Log, migrated_url: str, tmp_path: Path) -> Run:
    """A command in the folder of an installation that has signed its log."""

    def run(*arguments: str, url: str = migrated_url, **environ: str) -> subprocess.CompletedProcess[str]:
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR", "TOKPORTAL"))
        }
        variables = {"ORCHESTRATOR_DATABASE_URL": url, "ORCHESTRATOR_AUDIT_KEY": CANARY, **environ}
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", *arguments],
            cwd=tmp_path,
            env={**clean, **variables},
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        assert CANARY not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    log.execute("DELETE FROM checkpoints")  # Those of another key.
    settings = Settings.load({"ORCHESTRATOR_DATABASE_URL": migrated_url, "ORCHESTRATOR_AUDIT_KEY": CANARY}, tmp_path)
    build(settings, log.database, RealClock()).step()
    return run


def test_a_clean_log(run: Run) -> None:
    done = run("audit", "verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing was changed: 267 events and 162 messages in 10 batches" in done.stdout
    report = json.loads(run("audit", "verify", "--json").stdout)
    assert report["clean"] and report["signed_position"] == report["position"] == 267
    assert run("audit", "verify", "--from", "100", "--to", "120", "--json").returncode == 0
    assert run("audit", "verify", "--from", "2026-11-01T00:00:00Z", "--to", "2027-01-01").returncode == 0


def test_a_changed_log(run: Run, log: Log) -> None:
    log.execute("UPDATE events SET topic = 'VideoPosted' WHERE notification_id = 100")
    done = run("audit", "verify")
    assert (done.returncode, done.stderr) == (1, "")
    assert "Event 100 (VideoPosted of " in done.stdout and "was changed." in done.stdout
    done = run("audit", "verify", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"][0]["position"] == 100


def test_exports_verify_elsewhere(run: Run, tmp_path: Path) -> None:
    nowhere = f"sqlite:///{tmp_path}/nothing/here.db"
    (key,) = (path for path in tmp_path.rglob("keys/*.pub") if "migrated" in str(path) or "data" in str(path))
    for format in ("ndjson", "csv"):
        name = f"out.{format}"
        assert run("audit", "export", "--format", format, "--output", name).returncode == 0
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        done = run("audit", "verify", "--file", name, "--public-key", str(key), url=nowhere)
        assert (done.returncode, "signed up to position 267" in done.stdout) == (0, True)
        (tmp_path / "piped").write_text(run("audit", "export", "--format", format).stdout, encoding="utf-8", newline="")
        assert (tmp_path / "piped").read_bytes().count(b"\n") == (tmp_path / name).read_bytes().count(b"\n")
        assert run("audit", "verify", "--file", "piped", url=nowhere).returncode == 0
        again = run("audit", "export", "--output", name)
        assert (again.returncode, again.stderr) == (
            2,
            f"orchestrator: {name} exists already: an export never replaces a file\n",
        )
    data = (tmp_path / "out.ndjson").read_text(encoding="utf-8")
    (tmp_path / "out.ndjson").write_text(data.replace("just so", "just no"), encoding="utf-8")
    assert run("audit", "verify", "--file", "out.ndjson", url=nowhere).returncode == 1


def test_exports_are_filtered(run: Run) -> None:
    rows = list(
        csv.DictReader(io.StringIO(run("audit", "export", "--format", "csv", "--actor", "ann", "--output", "-").stdout))
    )
    assert {row["actor"] for row in rows if row["type"] in ("event", "message")} == {"ann"}
    assert [row["reason"] for row in rows if row["type"] == "event"] == ["'=1+1"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["audit", "verify", "--from", "soon"], "must be a position of the log, or a time such as"),
        (["audit", "verify", "--file", "nothing"], "does not exist"),
        (["audit", "verify", "--public-key", "bad"], "holds no Ed25519 public key"),
        (["audit", "export", "--format", "xml"], "must be one of ndjson, csv"),
        (["audit", "export", "--country", "Atlantis"], "must be a country"),
        (["restore"], "name the file to restore"),
        (["restore", "bad"], "is no backup of this program"),
        (["backup", "bad"], "exists already"),
    ],
)
def test_wrong_usage_is_told_in_one_sentence(run: Run, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    (tmp_path / "bad").write_text("bad")
    done = run(*arguments)
    assert done.returncode == 2 and sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_backup_and_back(run: Run, log: Log, migrated_url: str, tmp_path: Path) -> None:
    done = run("backup", "b", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["position"] == 267
    if not migrated_url.startswith("sqlite"):
        return
    url = f"sqlite:///{tmp_path}/elsewhere/orchestrator.db"
    done = run("restore", "b", url=url)
    assert done.returncode == 0 and "starts in observe on it" in done.stdout
    assert run("audit", "verify", url=url).returncode == 0
    assert run("restore", "b", url=url).returncode == 2
    assert "The service acts as its mode says" in run("restore", "--trust", url=url).stdout
    assert "Nothing kept the service" in run("restore", "--trust", url=url).stdout


def test_doctor_shows_the_key_masked(run: Run) -> None:
    settings = json.loads(run("doctor", "--json").stdout)["settings"]
    (key,) = [one for one in settings if one["variable"] == "ORCHESTRATOR_AUDIT_KEY"]
    assert key["value"].startswith("***") and key["source"] == "environment"
