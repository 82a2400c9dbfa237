"""The command line as scripts and people meet it: exit codes, one clear sentence, JSON, and a good end."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from tests.blackbox.conftest import NewServer
from tests.blackbox.server import PUBLIC, SECRET, Server, Stream, free_port, run_cli, wait_for
from tests.blackbox.story import article, fresh, public
from tests.blackbox.wire import head_of
from tests.postgres import PostgresServer

on_sqlite = pytest.mark.parametrize("server", ["sqlite"], indirect=True)
CANARY = "canary-5f3a9c-do-not-show"


class Mistake(NamedTuple):
    """What somebody did wrong, and words that the sentence about it has to have. `{…}` are places of the test."""

    arguments: str
    words: str
    settings: Mapping[str, str] = MappingProxyType({})


MISTAKES = {
    "no such command": Mistake("sreve", "sreve"),
    "an argument too few": Mistake("bundles show", "bundle_id"),
    "a limit beyond the largest": Mistake("bundles list --limit 501", "500"),
    "no such status": Mistake("messages list --status sold", "sold|--status"),
    "a cursor that is none": Mistake("bundles list --cursor x", "--cursor", {"DATABASE_URL": "{migrated}"}),
    "no such event": Mistake("simulate event bundle.sold --secret x --url http://127.0.0.1:1/", "bundle.sold"),
    "nobody listens": Mistake("simulate all --url http://127.0.0.1:1/ --secret x", "127.0.0.1|refused|connect"),
    "no such mode": Mistake("serve", "ORCHESTRATOR_MODE", {"MODE": "dream"}),
    "live without a key": Mistake("serve", "TOKPORTAL_API_KEY", {"MODE": "live"}),
    "bound to the world without tokens": Mistake("serve", "ORCHESTRATOR_API_TOKENS", {"HOST": "0.0.0.0"}),
    "a host of somebody else": Mistake(
        "serve", "198.51.100.1|assign", {"HOST": "198.51.100.1", "API_TOKENS": f"a:admin:{CANARY}"}
    ),
    "a token without role": Mistake("serve", "ORCHESTRATOR_API_TOKENS", {"API_TOKENS": CANARY}),
    "networks that are none": Mistake("serve", "ORCHESTRATOR_ALLOWED_NETWORKS", {"ALLOWED_NETWORKS": "10.0.0.1/8"}),
    "a list of networks that is gone": Mistake("serve", "gone.txt", {"TRUSTED_PROXIES": "@gone.txt"}),
    "another kind of database": Mistake("serve", "mysql", {"DATABASE_URL": f"mysql://u:{CANARY}@h/d"}),
    "a database URL that is none": Mistake("serve", "ORCHESTRATOR_DATABASE_URL", {"DATABASE_URL": f"{CANARY}"}),
    "a database in memory": Mistake("serve", "ORCHESTRATOR_DATABASE_URL", {"DATABASE_URL": "sqlite://"}),
    "a database out of reach": Mistake("serve", "database", {"DATABASE_URL": f"postgresql://u:{CANARY}@127.0.0.1:1/d"}),
    "a database out of reach, read": Mistake(
        "bundles list", "database", {"DATABASE_URL": f"postgresql://u:{CANARY}@127.0.0.1:1/d"}
    ),
    "a database that is not there": Mistake("migrate", "database", {"DATABASE_URL": "{postgres}/nowhere"}),
    "a database that is a folder": Mistake("serve", "database", {"DATABASE_URL": "sqlite:///folder"}),
    "a database that is another file": Mistake("bundles list", "database", {"DATABASE_URL": "sqlite:///text.db"}),
    "a database below a file": Mistake("serve", "text.db", {"DATABASE_URL": "sqlite:///text.db/orchestrator.db"}),
    "a database of another world": Mistake("serve", "sandbox", {"MODE": "sandbox", "DATABASE_URL": "{world}"}),
    "a database of a newer program": Mistake("serve", "database|revision|schema", {"DATABASE_URL": "{newer}"}),
    "a database of a newer program, read": Mistake(
        "bundles list", "migrate|newer|version", {"DATABASE_URL": "{newer}"}
    ),
    "no schema to serve": Mistake("serve --no-migrate", "migrate", {"DATABASE_URL": "{empty}"}),
    "no schema to list": Mistake("bundles list", "migrate", {"DATABASE_URL": "{empty}"}),
    "no such revision": Mistake("migrate 9999_of_tomorrow", "9999_of_tomorrow", {"DATABASE_URL": "{empty}"}),
    "no such bundle": Mistake("bundles show bdl_none", "bdl_none", {"DATABASE_URL": "{migrated}"}),
    "no such video": Mistake("videos show vid_none --json", "vid_none", {"DATABASE_URL": "{migrated}"}),
    "a port in use": Mistake("serve", "in use", {"PORT": "{port}", "DATABASE_URL": "{migrated}"}),
    "a webhooks.yaml that is none": Mistake("serve", "webhooks.yaml, line 2", {"CONFIG_DIR": "broken"}),
    "a sandbox secret that is blank": Mistake(
        "serve", "secrets", {"MODE": "sandbox", "DATABASE_URL": "sqlite:///blank/orchestrator.db"}
    ),
}


@pytest.fixture(scope="module")
def mended(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, migrated_sqlite_file: Path
) -> Iterator[dict[str, subprocess.CompletedProcess[str]]]:
    """What every mistake was answered with."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "folder").mkdir()
    (folder / "text.db").write_text("This is no database. " * 100)
    (folder / "broken").mkdir()
    (folder / "broken" / "webhooks.yaml").write_text("endpoints:\n  a: {secret: [env:X]}\n")
    (folder / "blank" / "secrets").mkdir(parents=True)
    for name in ("webhook", "sandbox"):
        (folder / "blank" / "secrets" / name).write_text("\n")
    for name in ("migrated", "world", "newer"):
        (folder / f"{name}.db").write_bytes(migrated_sqlite_file.read_bytes())
    execute(folder / "world.db", "INSERT INTO world (key, value) VALUES ('world', 'tokportal')")
    execute(folder / "newer.db", "UPDATE alembic_version SET version_num = '9999_of_tomorrow'")
    empty = postgres_server.new_database()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        places = {
            "{port}": str(taken.getsockname()[1]),
            "{empty}": empty,
            "{postgres}/nowhere": empty.replace("/test_", "/nowhere_"),
            **{f"{{{name}}}": f"sqlite:///{name}.db" for name in ("migrated", "world", "newer")},
        }

        def commit(mistake: Mistake) -> subprocess.CompletedProcess[str]:
            settings = {"DATABASE_URL": "sqlite:///unused.db", "PORT": str(free_port())} | dict(mistake.settings)
            variables = {f"ORCHESTRATOR_{name}": places.get(value, value) for name, value in settings.items()}
            try:
                return run_cli(folder, *mistake.arguments.split(), seconds=20, **variables)
            except subprocess.TimeoutExpired as error:
                return subprocess.CompletedProcess(error.cmd, 0, "", "it runs")

        with ThreadPoolExecutor(3) as pool:
            yield dict(zip(MISTAKES, pool.map(commit, MISTAKES.values()), strict=True))
    postgres_server.drop_database(empty)


def execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    try:
        with connection:
            connection.execute(statement)
    finally:
        connection.close()


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_clear_sentence(mended: dict[str, subprocess.CompletedProcess[str]], name: str) -> None:
    done = mended[name]
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (sentence,) = done.stderr.splitlines()
    sentence = sentence.removeprefix("orchestrator: ")
    words = MISTAKES[name].words.split("|")
    assert any(word in sentence for word in words), sentence
    assert 15 < len(sentence) < 400, sentence
    assert CANARY not in sentence
    for inside in (
        "sqlalchemy",
        "psycopg",
        "alembic",
        "Error(",
        "<class",
        "site-packages",
        "errno",
        "https://sqlalche.me",
    ):
        assert inside not in sentence, sentence


def test_what_only_looks_writes_nothing(tmp_path: Path) -> None:
    """Not even an empty database, or its folder."""
    for arguments in (["bundles", "list"], ["messages", "list", "--json"], ["doctor"]):
        done = run_cli(tmp_path, *arguments)
        assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_and_version(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        asked = ([], ["--help"], ["--version"], ["serve", "--help"], ["bundles"], ["simulate", "--help"])
        none, help_, version, serve, bundles, simulate = pool.map(
            lambda arguments: run_cli(tmp_path, *arguments), asked
        )
    assert (help_.returncode, version.returncode, serve.returncode, simulate.returncode) == (0, 0, 0, 0)
    assert version.stdout.startswith("orchestrator ")
    for word in ("serve", "doctor", "migrate", "bundles", "videos", "history", "messages", "projections", "simulate"):
        assert word in help_.stdout
    assert "--no-migrate" in serve.stdout
    # Without a word of what is wanted one is shown what there is.
    assert (none.returncode, bundles.returncode) == (2, 2)
    assert "serve" in none.stdout
    assert "list" in bundles.stdout
    assert none.stderr == bundles.stderr == "orchestrator: say what to do: a command is missing\n"


# What programs read


@on_sqlite
def test_json_for_programs(server: Server) -> None:
    bundle, video = fresh("bdl"), fresh("vid")
    message_id = server.deliver(article("video.posted", bundle, data={"video_id": video, "url": "https://x.example/1"}))
    server.wait_until_applied()
    commands = {
        ("bundles", "list", "--country", "us", "--limit", "500"): "/api/bundles?country=US&limit=500",
        ("bundles", "show", bundle): f"/api/bundles/{bundle}",
        ("videos", "list", "--bundle-id", bundle): f"/api/videos?bundle_id={bundle}",
        ("videos", "show", video): f"/api/videos/{video}",
        ("history", "videos", video): f"/api/videos/{video}/history",
        ("messages", "list", "--limit", "3"): "/api/messages?limit=3",
        ("messages", "show", message_id): f"/api/messages/{message_id}",
        ("projections", "list"): "/api/projections",
    }
    with ThreadPoolExecutor(3) as pool:
        printed = list(pool.map(lambda arguments: server.cli_json(*arguments), commands))
    assert printed == [server.api(path) for path in commands.values()]


@on_sqlite
def test_tables_for_people(server: Server) -> None:
    """Nothing that a sender wrote acts on the terminal."""
    bundle = fresh("bdl")
    server.deliver(article("bundle.created", bundle, country="AQ", data={"username": "\x1b[31m\u202eevil\n\r\x07"}))
    server.wait_until_applied()
    for arguments in (
        ["bundles", "show", bundle],
        ["history", "bundle", bundle],
        ["bundles", "list", "--country", "AQ"],
    ):
        done = server.cli(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert "evil" in done.stdout
        for character in "\x1b\u202e\r\x07":
            assert character not in done.stdout


@on_sqlite
def test_simulate_speaks_both_dialects(server: Server) -> None:
    """The simulator of the program itself, against a service that was set up by the same settings."""
    assert server.cli_json("simulate", "event", "bundle.created")["items"][0]["status"] == 200
    for dialect, seed in (("article", "1"), ("public", "2")):
        answers = server.cli_json("simulate", "all", "--dialect", dialect, "--seed", seed)["items"]
        assert {answer["status"] for answer in answers} == {200}
        assert {answer["answer"]["status"] for answer in answers} == {"accepted"}
    server.wait_until_applied()
    figures = server.cli_json("simulate", "storm", "--count", "300", "--bad-signatures", "0.05", "--seed", "3")
    assert figures["unexpected"] == figures["lost"] == 0
    assert figures["answers"] == 300
    server.wait_until_applied()
    wrong = server.cli("simulate", "all", "--secret", "not the secret", "--json")
    assert wrong.returncode == 1
    assert {answer["status"] for answer in json.loads(wrong.stdout)["items"]} == {401}


@on_sqlite
def test_the_doctor_looks_at_a_healthy_house(server: Server) -> None:
    report = server.cli_json("doctor")
    values = {setting["variable"]: setting for setting in report["settings"]}
    assert values["ORCHESTRATOR_PORT"] == {
        "variable": "ORCHESTRATOR_PORT",
        "value": str(server.port),
        "source": "environment",
    }
    assert values["ORCHESTRATOR_MODE"]["source"] == "default"
    assert SECRET not in json.dumps(report)
    assert {finding["level"] for finding in report["findings"]} <= {"ok", "warning"}


def test_the_doctor_finds_what_is_wrong(tmp_path: Path) -> None:
    unreachable = f"postgresql://u:{CANARY}@127.0.0.1:1/d"
    for arguments in (["doctor"], ["doctor", "--json"]):
        done = run_cli(tmp_path, *arguments, ORCHESTRATOR_DATABASE_URL=unreachable, TOKPORTAL_WEBHOOK_SECRET=CANARY)
        assert (done.returncode, done.stderr) == (1, "")
        assert CANARY not in done.stdout
        assert "ORCHESTRATOR_DATABASE_URL" in done.stdout


def test_migrate_makes_the_schema_and_is_done_the_second_time(database_url: str, tmp_path: Path) -> None:
    variables = {"ORCHESTRATOR_DATABASE_URL": database_url}
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: run_cli(tmp_path, "migrate", **variables), range(2)))
    runs.append(run_cli(tmp_path, "migrate", **variables))
    assert {(run.returncode, run.stderr) for run in runs} == {(0, "")}
    assert len({run.stdout for run in runs}) == 1
    done = run_cli(tmp_path, "bundles", "list", "--json", **variables)
    assert json.loads(done.stdout) == {"items": [], "next": None, "position": 0}


# How it ends


def test_told_to_stop_it_stores_what_it_took_and_ends_well(database_url: str, new_server: NewServer) -> None:
    """With a stream open, an answer held, a request half sent and deliveries under way."""
    number = signal.SIGTERM if database_url.startswith("sqlite") else signal.SIGINT
    server = new_server(database_url).start()
    taken: list[str] = []

    def deliver() -> None:
        while True:
            message = article("bundle.created", fresh("bdl"))
            try:
                answer = server.post_webhook(message)
            except Exception:
                return
            if answer.status_code != 200:
                return
            taken.append(message["id"])

    with ThreadPoolExecutor(3) as pool, Stream(server) as stream, server.connection() as half:
        half.sendall(head_of(100))
        held = pool.submit(server.client().get, "/api/videos/none?until=posted&wait=60")
        deliveries = [pool.submit(deliver) for _ in range(2)]
        wait_for(lambda: len(taken) > 20, what="some deliveries")
        began = time.monotonic()
        assert server.stop(number) == 0
        assert time.monotonic() - began < 8
        assert stream.ended.wait(5)
        held.exception(timeout=5)
        for delivery in deliveries:
            delivery.result(timeout=5)
    assert server.errors() == []
    server.start()
    server.wait_until_applied()
    journalled = {item["event_id"]: item["status"] for item in server.items("/api/messages")}
    assert set(taken) <= journalled.keys()
    assert set(journalled.values()) == {"applied"}


def test_told_to_stop_while_it_starts_it_ends_as_well(tmp_path: Path, new_server: NewServer) -> None:
    server = new_server(f"sqlite:///{tmp_path / 'orchestrator.db'}")
    for pause in (0.05, 0.4, 0.8, 1.2):
        server.start(ready=False)
        began = time.monotonic()
        wait_for(lambda began=began, pause=pause: time.monotonic() - began > pause)
        code = server.stop()
        assert code in (0, -signal.SIGTERM, 130, 143), code
        if server.log.exists():
            assert "Traceback" not in server.log.read_text()
    server.start()
    assert server.stop() == 0


def test_the_log_is_json_a_line_and_tells_where_it_serves(tmp_path: Path, new_server: NewServer) -> None:
    server = new_server(f"sqlite:///{tmp_path / 'orchestrator.db'}").start()
    (line,) = [line for line in server.log_lines() if "url" in line]
    assert line.keys() >= {"ts", "level", "logger", "message"}
    assert (line["level"], line["url"]) == ("info", server.url)


# Secrets


def test_secrets_are_shown_nowhere(postgres_server: PostgresServer, new_server: NewServer) -> None:
    """Neither those of the settings nor what a sender or a caller held for one, whatever goes wrong."""
    tokens = {role: f"{CANARY}-{role}" for role in ("viewer", "operator", "admin")}
    secrets = [f"{CANARY}-secret", f"{CANARY}-of-accounts", f"{CANARY}-key", f"{CANARY}-password", *tokens.values()]
    database = postgres_server.new_database()
    url = database.replace("postgresql+psycopg://postgres@", f"postgresql://postgres:{secrets[3]}@")
    assert secrets[3] in url
    server = new_server(
        url,
        webhooks="endpoints: {accounts: {secrets: [env:ACCOUNTS]}}",
        tokens=tokens,
        TOKPORTAL_WEBHOOK_SECRET=secrets[0],
        ACCOUNTS=secrets[1],
        TOKPORTAL_API_KEY=secrets[2],
    ).start()
    message = article("bundle.created", fresh("bdl"))
    server.deliver(message, secret=secrets[0])
    server.deliver(
        public("bundle.created", data={"bundle_id": fresh("b")}), PUBLIC, secret=secrets[1], endpoint="accounts"
    )
    message_id = server.deliver(b"{not json", secret=secrets[0])
    shown = [
        server.send(b"{}", {"X-TokPortal-Signature": secrets[0]}).text,
        server.send(b"{}", {"Authorization": f"Bearer {secrets[0]}"}).text,
        server.client().get(f"/webhooks/tokportal/{secrets[1]}").text,
        server.client().get(f"/api/bundles?token={tokens['admin']}").text,
        server.client().get("/api/bundles", headers={"Authorization": f"Bearer {tokens['viewer']}x"}).text,
        server.client().get(f"/api/bundles?secret={secrets[0]}", headers=server.bearer("viewer")).text,
        server.client().get("/metrics", headers=server.bearer("viewer")).text,
        server.client().get("/openapi.json", headers=server.bearer("viewer")).text,
        server.client().get("/health/work").text,
        json.dumps(server.judged(message_id)),
        json.dumps(server.items("/api/messages")),
        json.dumps(server.items("/api/events")),
    ]
    # The database is gone: everybody complains.
    os.kill(server.worker("engine"), signal.SIGKILL)
    postgres_server.drop_database(database)
    server.post_webhook(message, secret=secrets[0])
    wait_for(server.errors, what="complaints in the log")
    for command in (["doctor"], ["doctor", "--json"], ["bundles", "list"], ["migrate"]):
        done = server.cli(*command)
        shown += [done.stdout, done.stderr]
    server.stop()
    shown.append(server.log.read_text())
    for secret in secrets:
        assert not [text for text in shown if secret in text], secret


def test_a_sandbox_has_a_secret_of_its_own(tmp_path: Path, new_server: NewServer) -> None:
    """Made at the first start, for its owner alone, and the same ever after; the simulator finds it."""
    settings: dict[str, Any] = {"ORCHESTRATOR_MODE": "sandbox", "TOKPORTAL_WEBHOOK_SECRET": ""}
    server = new_server(f"sqlite:///{tmp_path / 'data' / 'orchestrator.db'}", **settings).start()
    (file,) = (tmp_path / "data" / "secrets").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    secret = file.read_text().strip()
    assert len(secret) >= 32
    server.deliver(article("bundle.created", fresh("bdl")), secret=secret)
    assert server.post_webhook(article("bundle.created", fresh("bdl")), secret="").status_code == 401
    assert server.cli_json("simulate", "event", "bundle.created")["items"][0]["status"] == 200
    assert server.stop() == 0
    server.start()
    assert file.read_text().strip() == secret
    assert secret not in server.log.read_text()
    # A database remembers its world, and refuses another.
    done = run_cli(
        server.folder, "serve", **server.settings | {"ORCHESTRATOR_MODE": "observe", "ORCHESTRATOR_PORT": "0"}
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
