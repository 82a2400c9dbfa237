from __future__ import annotations

import json
import logging
import stat
import subprocess
from pathlib import Path

import pytest

from orchestrator.audit import build
from orchestrator.audit.checkpoints import Outside
from orchestrator.audit.keys import KeyFileError, PublicKey, known_public_key, signing_key
from orchestrator.clock import RealClock
from orchestrator.database import Database, Lease, LeaseLostError
from orchestrator.restored import Restored, mark
from orchestrator.settings import Settings, SettingsError
from tests.audit.logs import KEY, OTHER_KEY, Log
from tests.projections.logs import article


def batches(log: Log) -> list[int]:
    with log.database.read() as connection:
        return list(connection.exec_driver_sql("SELECT batch FROM checkpoints ORDER BY batch").scalars())


def test_a_checkpoint_is_made_a_minute_after_a_commit(log: Log) -> None:
    known = batches(log)
    log.time.seconds += 30
    assert log.sealer.step() == 0
    log.time.seconds += 31
    assert log.sealer.step() == 1
    assert batches(log) == [*known, log.value("SELECT max(batch) FROM chain")]
    log.time.seconds += 1000
    assert log.sealer.step() == 0  # Nothing was committed since.


def test_a_checkpoint_is_made_after_so_many_batches(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.seal()
    monkeypatch.setattr("orchestrator.audit.sealer.BATCHES", 2)
    for number in (1, 2):
        log.take([article(9000 + number, "bundle.ready", "b1")])
        log.time.seconds += 2
        assert log.sealer.step() == number - 1


def test_the_last_checkpoint_is_made_at_the_end(log: Log) -> None:
    log.sealer.close()
    assert batches(log)[-1] == log.value("SELECT max(batch) FROM chain")
    assert log.verify().signed_position == log.verify().position


def test_who_only_stood_by_signs_nothing_at_the_end(log: Log) -> None:
    known = batches(log)
    log.new_sealer().close()
    assert batches(log) == known


def test_a_start_looks_at_once(log: Log) -> None:
    assert log.new_sealer().step() == 1


def test_head_and_log_stand_outside(log: Log) -> None:
    lines = [json.loads(line) for line in log.outside.log.read_text().splitlines()]
    assert [line["batch"] for line in lines] == batches(log)
    assert json.loads((log.outside.folder / "head.json").read_text()) == lines[-1]
    assert log.verify().checkpoints == 2 * len(lines)


def test_any_tool_can_check_a_signature(log: Log, tmp_path: Path) -> None:
    """The statement is a text, the key is PEM, the signature 64 bytes: `openssl pkeyutl` takes them as they are."""
    head = log.outside.head()
    assert head is not None
    assert head.statement().decode().splitlines() == [
        "orchestrator checkpoint 1",
        f"batch {head.batch}",
        f"position {head.position}",
        f"applied {head.applied}",
        f"digest {head.digest.hex()}",
        f"at {head.at}",
        f"key {head.key_id}",
    ]
    key = log.outside.folder / "keys" / f"{head.key_id}.pub"
    assert PublicKey.read(key).proves(head.signature, head.statement())
    (tmp_path / "statement").write_bytes(head.statement())
    (tmp_path / "signature").write_bytes(head.signature)
    arguments = ["pkeyutl", "-verify", "-pubin", "-inkey", str(key), "-rawin", "-in", str(tmp_path / "statement")]
    done = subprocess.run(
        ["openssl", *arguments, "-sigfile", str(tmp_path / "signature")], capture_output=True, text=True
    )
    assert "Verified Successfully" in done.stdout, done.stderr


def test_nothing_is_signed_that_does_not_continue_what_was(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    last = batches(log)[-1]
    log.execute("UPDATE chain SET digest = :none WHERE batch = :batch", none=bytes(32), batch=last)
    log.take([article(9001, "bundle.ready", "b1")])

    log.seal()

    assert batches(log)[-1] == last
    assert "no checkpoint is made: the log does not continue what was signed last" in caplog.text
    caplog.clear()
    log.seal()
    assert caplog.text == ""  # It is not said every minute.
    log.time.seconds += 601
    log.take([article(9002, "bundle.ready", "b1")])
    log.seal()
    assert "no checkpoint is made" in caplog.text


def test_people_are_told_once_that_the_log_was_changed_and_when_it_is_whole_again(tmp_path: Path, log: Log) -> None:
    digest = log.value("SELECT digest FROM chain ORDER BY batch DESC LIMIT 1")
    last = log.value("SELECT max(batch) FROM chain")
    sealer = build(settings(tmp_path), log.database, RealClock())
    assert sealer.step() == 1
    for now in (bytes(32), digest):
        log.execute("UPDATE chain SET digest = :now WHERE batch = :last", now=now, last=last)
        for _ in range(2):
            sealer.forget()
            sealer.step()
    said = log.rows("SELECT body, actor FROM journal WHERE endpoint = 'audit' ORDER BY seq")
    broken, mended = (json.loads(bytes(body)) for body, _ in said)
    assert broken["command"] == "audit.broken" and "does not continue what was signed last" in broken["reason"]
    assert mended == {"command": "audit.mended", "reason": None}
    assert {actor for _, actor in said} == {'{"kind":"trigger","name":"audit"}'}


def test_a_new_database_in_the_place_of_another_begins_anew_and_is_told_of(
    log: Log, migrated_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    log.execute("DELETE FROM checkpoints")
    log.execute("UPDATE chain SET digest = :none WHERE batch > 0", none=bytes(32))
    log.sealer.forget()
    log.seal()
    assert "another database has taken the place" in caplog.text
    (aside,) = log.outside.aside()
    assert [finding.text for finding in log.verify().findings if finding.kind == "cut"] == [
        f"{aside} has the checkpoints of a database that is gone: remove the folder if that was on purpose"
    ]


def test_a_restored_database_goes_on_from_where_the_backup_ended(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    log.seal()
    lost = batches(log)[-1]
    kept = batches(log)[0]
    position = log.value("SELECT last_position FROM chain WHERE batch = :batch", batch=kept)
    applied = log.value("SELECT last_applied FROM chain WHERE batch = :batch", batch=kept)
    for statement in (
        f"DELETE FROM events WHERE notification_id > {position}",
        f"DELETE FROM journal WHERE seq IN (SELECT seq FROM marks WHERE applied_seq > {applied})",
        f"DELETE FROM marks WHERE applied_seq > {applied}",
        f"DELETE FROM chain WHERE batch > {kept}",
        f"DELETE FROM checkpoints WHERE batch > {kept}",
        "DELETE FROM desk",
    ):
        log.execute(statement)
    assert [finding.kind for finding in log.verify().findings] == ["cut", "cut"]
    with log.database.write() as connection:
        mark(connection, Restored("4711", "2026-11-26T10:00:00Z", kept, position))

    log.sealer.forget()
    log.seal()

    assert "the database was restored" in caplog.text
    report = log.verify()
    assert report.is_clean
    assert f"restored from a backup that ended with batch {kept}" in "\n".join(report.notes)
    assert lost > kept and log.verify(keys=[OTHER_KEY]).count  # The restoration itself is signed.
    log.seal()
    assert len(log.outside.log.read_text().splitlines()) == len(set(log.outside.log.read_text().splitlines()))


def test_a_line_that_was_half_written_is_no_obstacle(log: Log) -> None:
    with log.outside.log.open("ab") as file:
        file.write(b'{"batch":')
    log.seal()
    assert [finding.kind for finding in log.verify().findings] == ["unreadable"]
    assert log.outside.log.read_bytes().endswith(b"}\n")


def test_another_key_may_follow(log: Log) -> None:
    sealer = log.new_sealer(OTHER_KEY)
    assert sealer.step() == 1
    assert log.verify(keys=[KEY, OTHER_KEY]).is_clean
    assert {key.key_id for key in log.outside.public_keys()} == {KEY.public.key_id, OTHER_KEY.public.key_id}


def test_who_lost_the_lease_signs_nothing(log: Log, migrated_url: str) -> None:
    lease = Lease(log.database, "outside", "me")
    assert lease.acquire()
    assert not Lease(log.database, "outside", "another").acquire()
    log.sealer._lease = lease
    log.execute("UPDATE leases SET token = token + 1 WHERE name = 'outside'")
    known = batches(log)
    log.time.seconds += 61
    with pytest.raises(LeaseLostError):
        log.sealer.step()
    assert batches(log) == known


# Keys and settings.


def settings(tmp_path: Path, **environ: str) -> Settings:
    return Settings.load({"ORCHESTRATOR_DATABASE_URL": f"sqlite:///{tmp_path}/data/house.db", **environ}, tmp_path)


def test_a_key_is_made_and_kept(tmp_path: Path) -> None:
    assert known_public_key(settings(tmp_path)) is None
    key = signing_key(settings(tmp_path))
    assert signing_key(settings(tmp_path)).public.key_id == key.public.key_id
    secret = tmp_path / "data" / "secrets" / "audit-key"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    public = PublicKey.read(tmp_path / "data" / "secrets" / "audit-key.pub")
    known = known_public_key(settings(tmp_path))
    assert known is not None and public.key_id == key.public.key_id == known.key_id


@pytest.mark.parametrize(
    "text", ["5a" * 32, "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo=", "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo"]
)
def test_a_key_can_be_given(tmp_path: Path, text: str) -> None:
    given = settings(tmp_path, ORCHESTRATOR_AUDIT_KEY=text)
    assert signing_key(given).public.key_id == KEY.public.key_id
    assert not (tmp_path / "data" / "secrets").exists()
    assert {text[:8]} & {secret.reveal()[:8] for secret in given.secrets}
    shown = {one.variable: one.value for one in given.effective}["ORCHESTRATOR_AUDIT_KEY"]
    assert shown.startswith("***") and text[:8] not in shown


@pytest.mark.parametrize("text", ["canary", "canary" * 11, "zz" * 32, "é" * 32])
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="ORCHESTRATOR_AUDIT_KEY: the key is unusable, write 32") as caught:
        settings(tmp_path, ORCHESTRATOR_AUDIT_KEY=text)
    assert text not in str(caught.value)


def test_a_file_that_holds_no_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secrets" / "audit-key"
    path.parent.mkdir(parents=True)
    path.write_text("canary\n")
    with pytest.raises(KeyFileError, match="audit-key cannot be used") as caught:
        signing_key(settings(tmp_path))
    assert "canary" not in str(caught.value)
    with pytest.raises(KeyFileError, match="holds no Ed25519 public key"):
        PublicKey.read(path)


def test_the_key_is_never_logged(tmp_path: Path, log: Log, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    given = settings(tmp_path)
    sealer = build(given, log.database, RealClock())
    assert sealer.step() == 1
    sealer.forget()
    log.execute("UPDATE chain SET digest = :none WHERE batch > 0", none=bytes(32))
    sealer.step()
    key = (tmp_path / "data" / "secrets" / "audit-key").read_text().strip()
    outside = Outside.of(given, log.database)
    written = "".join(path.read_text() for path in outside.folder.rglob("*") if path.is_file())
    assert len(key) == 64
    assert key not in caplog.text + repr(vars(sealer)) + repr(given) + written


def test_each_database_has_a_folder_of_its_own(tmp_path: Path) -> None:
    one = settings(tmp_path)
    other = settings(tmp_path, ORCHESTRATOR_DATABASE_URL=f"sqlite:///{tmp_path}/data/other.db")
    databases = [Database(s.database_url.reveal(), connections=1) for s in (one, other)]
    folders = {Outside.of(s, d).folder for s, d in zip((one, other), databases, strict=True)}
    for database in databases:
        database.close()
    assert folders == {tmp_path / "data" / "audit" / "house", tmp_path / "data" / "audit" / "other"}
